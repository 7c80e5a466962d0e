hs = {status = "Progressing", message = "Waiting for Torpor"}
if obj.status == nil or obj.status.conditions == nil or obj.status.observedGeneration ~= obj.metadata.generation then
  return hs
end
local conditions = {}
for _, condition in ipairs(obj.status.conditions) do
  conditions[condition.type] = condition
end
local stalled, ready = conditions.Stalled, conditions.Ready
if stalled and stalled.status == "True" then
  return {status = "Degraded", message = stalled.reason .. ": " .. stalled.message}
end
if ready and ready.status == "True" then
  return {status = "Healthy", message = ready.message}
end
if conditions.Reconciling then
  hs.message = conditions.Reconciling.message
end
return hs
