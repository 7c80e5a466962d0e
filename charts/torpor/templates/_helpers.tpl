{{/* The name of all objects. */}}
{{- define "torpor.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else if contains "torpor" .Release.Name -}}
{{- .Release.Name -}}
{{- else -}}
{{- printf "%s-torpor" .Release.Name -}}
{{- end -}}
{{- end -}}

{{/* The labels by which the operator's pods are selected. Bridges admit pods of the name torpor, so the name is no value. */}}
{{- define "torpor.selectorLabels" -}}
app.kubernetes.io/name: torpor
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{/* The labels of all objects. */}}
{{- define "torpor.labels" -}}
{{ include "torpor.selectorLabels" . }}
{{ include "torpor.releaseLabels" . }}
{{- end -}}

{{/* The labels of the release, without those of the operator. */}}
{{- define "torpor.releaseLabels" -}}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels of the objects of hooks, which belong to no Service, budget or policy of the operator. */}}
{{- define "torpor.hookLabels" -}}
app.kubernetes.io/name: torpor-hook
app.kubernetes.io/instance: {{ .Release.Name }}
{{ include "torpor.releaseLabels" . }}
{{- end -}}

{{/* The labels of all objects, and those of one. Arguments: the context and the labels. */}}
{{- define "torpor.labelsWith" -}}
{{- toYaml (merge (dict) .labels (include "torpor.labels" .root | fromYaml)) -}}
{{- end -}}

{{- define "torpor.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "torpor.fullname" .) -}}
{{- end -}}

{{/* The image. A digest without a tag is enough. */}}
{{- define "torpor.image" -}}
{{- $image := .Values.image -}}
{{- $tag := $image.tag | default (ternary "" .Chart.AppVersion (not (empty $image.digest))) -}}
{{- $image.repository -}}
{{- with $tag }}:{{ . }}{{ end -}}
{{- with $image.digest }}@{{ . }}{{ end -}}
{{- end -}}

{{/* The kinds of workloads that the operator can hold, for the admission policy. */}}
{{- define "torpor.kinds" -}}
- {kind: Deployment, group: apps, plural: deployments}
- {kind: StatefulSet, group: apps, plural: statefulsets}
- {kind: ReplicaSet, group: apps, plural: replicasets}
- {kind: DaemonSet, group: apps, plural: daemonsets}
- {kind: CronJob, group: batch, plural: cronjobs}
- {kind: Job, group: batch, plural: jobs}
{{- range include "torpor.table" . | fromYamlArray }}
- {kind: {{ .kind }}, group: {{ .group }}, plural: {{ .plural }}}
{{- end }}
{{- end -}}

{{/* The table of kinds of other projects: the entries of the presets, and those of the value `kinds`. */}}
{{- define "torpor.table" -}}
{{- $presets := dict "keda" (list "ScaledObject" "ScaledJob") "argoRollouts" (list "Rollout") "flux" (list "Kustomization" "HelmRelease") "cloudnativepg" (list "Cluster") -}}
{{- $all := .Files.Get "files/kinds.yaml" | fromYamlArray -}}
{{- $own := list -}}
{{- range .Values.kinds }}{{ $own = append $own .kind }}{{ end -}}
{{- $table := list -}}
{{- range .Values.kindPresets -}}
{{- $names := get $presets . -}}
{{- range $all -}}
{{- if and (has .kind $names) (not (has .kind $own)) }}{{ $table = append $table . }}{{ end -}}
{{- end -}}
{{- end -}}
{{- concat $table .Values.kinds | toYaml -}}
{{- end -}}

{{/* "true" where the operator has a table of kinds. */}}
{{- define "torpor.hasTable" -}}
{{- if or .Values.kinds .Values.kindPresets }}true{{ end -}}
{{- end -}}

{{/* The variable, mount and volume of the table of kinds. */}}
{{- define "torpor.tableVariable" -}}
- name: TORPOR_KINDS
  value: /etc/torpor/kinds.yaml
{{- end -}}
{{- define "torpor.tableMount" -}}
- name: kinds
  mountPath: /etc/torpor
  readOnly: true
{{- end -}}
{{- define "torpor.tableVolume" -}}
- name: kinds
  configMap:
    name: {{ include "torpor.fullname" . }}-kinds
{{- end -}}

{{/* The annotation that a lever is; nothing for a field. Argument: the lever. */}}
{{- define "torpor.annotation" -}}
{{- if hasPrefix "/metadata/annotations/" . -}}
{{ trimPrefix "/metadata/annotations/" . | replace "~1" "/" | replace "~0" "~" }}
{{- end -}}
{{- end -}}

{{/* A lever in CEL, as an optional value of the object. Arguments: the name of the object and the lever. */}}
{{- define "torpor.leverInCel" -}}
{{- $object := .object -}}
{{- with include "torpor.annotation" .lever -}}
{{ $object }}.metadata.?annotations[?'{{ . }}']
{{- else -}}
{{ $object }}{{ range rest (splitList "/" .lever) }}.?{{ . }}{{ end }}
{{- end -}}
{{- end -}}

{{/*
The fields that the hold guard guards, in CEL: `changed` is the value of a variable, `isChanged` whether the request changes a held
field, `stays` the words of the message, and `patches` restore the held value. A policy of its own for each group of kinds, so that
the API server can check the types.
*/}}
{{- define "torpor.guards" -}}
- name: replicas
  group: apps
  resources: [deployments, statefulsets, replicasets]
  changed: >-
    variables.record.contains('"/spec/replicas":{') && object.spec.replicas != oldObject.spec.replicas
  isChanged: variables.changed
  stays: "'spec.replicas stays ' + string(oldObject.spec.replicas)"
  patches: '[JSONPatch{op: "add", path: "/spec/replicas", value: oldObject.spec.replicas}]'
- name: suspend
  group: batch
  resources: [cronjobs, jobs]
  changed: >-
    variables.record.contains('"/spec/suspend":{') &&
    object.spec.?suspend.orValue(false) != oldObject.spec.?suspend.orValue(false)
  isChanged: variables.changed
  stays: "'spec.suspend stays ' + string(oldObject.spec.?suspend.orValue(false))"
  patches: '[JSONPatch{op: "add", path: "/spec/suspend", value: oldObject.spec.?suspend.orValue(false)}]'
- name: node-selector
  group: apps
  resources: [daemonsets]
  changed: >-
    variables.record.contains('"/spec/template/spec/nodeSelector/torpor.dev~1held":{') &&
    oldObject.spec.template.spec.?nodeSelector[?'torpor.dev/held'].hasValue() &&
    object.spec.template.spec.?nodeSelector[?'torpor.dev/held'] != oldObject.spec.template.spec.?nodeSelector[?'torpor.dev/held']
  isChanged: variables.changed
  stays: "'the key torpor.dev/held of spec.template.spec.nodeSelector stays'"
  patches: >-
    [has(object.spec.template.spec.nodeSelector)
    ? JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector/torpor.dev~1held",
    value: oldObject.spec.template.spec.nodeSelector['torpor.dev/held']}
    : JSONPatch{op: "add", path: "/spec/template/spec/nodeSelector",
    value: {"torpor.dev/held": oldObject.spec.template.spec.nodeSelector['torpor.dev/held']}}]
- name: data
  group: ""
  resources: [configmaps]
  changed: >-
    has(oldObject.data) ? oldObject.data.filter(key, variables.record.contains('"/data/' + key + '":{') &&
    object.?data[?key] != oldObject.?data[?key]) : []
  isChanged: variables.changed.size() > 0
  stays: "'data.' + variables.changed.join(', data.') + (variables.changed.size() == 1 ? ' stays as it is' : ' stay as they are')"
  patches: >-
    (has(object.data) ? [] : [JSONPatch{op: "add", path: "/data", value: {}}]) +
    variables.changed.map(key, JSONPatch{op: "add", path: "/data/" + jsonpatch.escapeKey(key), value: oldObject.data[key]})
{{- range include "torpor.table" . | fromYamlArray }}
{{- $annotation := include "torpor.annotation" .lever }}
{{- if or $annotation (regexMatch "^(/[A-Za-z_][A-Za-z0-9_]*)+$" .lever) }}
{{- $now := include "torpor.leverInCel" (dict "object" "object" "lever" .lever) }}
{{- $before := include "torpor.leverInCel" (dict "object" "oldObject" "lever" .lever) }}
{{- $name := ternary (trimPrefix "/" .lever | replace "/" ".") (printf "the annotation %s" $annotation) (empty $annotation) }}
- name: {{ .plural }}
  group: {{ .group }}
  version: {{ .version }}
  resources: [{{ .plural }}]
  changed: >-
    variables.record.contains('"{{ .lever }}":{') && {{ $now }} != {{ $before }}
  isChanged: variables.changed
  stays: "'{{ $name }} stays as it is'"
  patches: >-
    {{ if $annotation -}}
    (has(object.metadata.annotations) ? [] : [JSONPatch{op: "add", path: "/metadata/annotations", value: {}}]) +
    {{ end -}}
    ({{ $before }}.hasValue() ? [JSONPatch{op: "add", path: "{{ .lever }}", value: {{ $before }}.value()}] : [])
{{- end }}
{{- end }}
{{- end -}}

{{/*
"true" where an object of another project's API is to be rendered: by renderMode, and the APIs that the cluster has.
Arguments: the context, the values of the object, its API version and kind, and the name of its values.
*/}}
{{- define "torpor.renders" -}}
{{- $has := .root.Capabilities.APIVersions.Has .api -}}
{{- if not .values.enabled -}}
{{- else if or $has (eq .values.renderMode "alwaysRender") -}}
true
{{- else if eq .values.renderMode "failIfMissing" -}}
{{- fail (printf "%s.enabled is true and the cluster has no %s: install its CRD first, or set %s.renderMode to skipIfMissing" .name .api .name) -}}
{{- end -}}
{{- end -}}

{{/* Refuses combinations of values that a schema does not express. */}}
{{- define "torpor.validate" -}}
{{- $known := list "Deployment" "StatefulSet" "ReplicaSet" "DaemonSet" "CronJob" "Job" "ConfigMap" "Hibernation" "MaintenanceWindow" -}}
{{- range .Values.kinds -}}
{{- if has .kind $known -}}
{{- fail (printf "kinds has an entry for %s, which is built in or has an entry before: remove the entry" .kind) -}}
{{- end -}}
{{- $known = append $known .kind -}}
{{- end -}}
{{- if and .Values.podDisruptionBudget.minAvailable .Values.podDisruptionBudget.maxUnavailable -}}
{{- fail "podDisruptionBudget.minAvailable and podDisruptionBudget.maxUnavailable exclude each other: remove one" -}}
{{- end -}}
{{- if and (not .Values.serviceAccount.create) (not .Values.serviceAccount.name) -}}
{{- fail "serviceAccount.create is false and serviceAccount.name is empty: write the name of the service account that you have created" -}}
{{- end -}}
{{- end -}}
