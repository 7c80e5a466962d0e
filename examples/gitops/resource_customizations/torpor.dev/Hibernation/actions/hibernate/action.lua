obj.spec.state = "Hibernated"
return obj
