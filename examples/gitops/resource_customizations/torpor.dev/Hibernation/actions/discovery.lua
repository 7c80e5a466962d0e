actions = {}
actions["hibernate"] = {["disabled"] = obj.spec.state ~= "Awake"}
actions["wake"] = {["disabled"] = obj.spec.state ~= "Hibernated"}
return actions
