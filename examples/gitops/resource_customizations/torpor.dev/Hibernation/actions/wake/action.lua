obj.spec.state = "Awake"
return obj
