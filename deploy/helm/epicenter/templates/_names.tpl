{{- define "epicenter.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 40 | trimSuffix "-" }}
{{- end }}

{{- define "epicenter.fullname" -}}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains (include "epicenter.name" .) .Release.Name }}
{{- .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name (include "epicenter.name" .) | trunc 40 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- /* Of all objects: (list root component). */}}
{{- define "epicenter.labels" -}}
{{- $root := index . 0 -}}
helm.sh/chart: {{ printf "%s-%s" $root.Chart.Name $root.Chart.Version | replace "+" "_" | trunc 63 }}
{{ include "epicenter.selector" . }}
app.kubernetes.io/version: {{ $root.Chart.AppVersion | quote }}
app.kubernetes.io/part-of: epicenter
app.kubernetes.io/managed-by: {{ $root.Release.Service }}
{{- end }}

{{- /* (list root component); all services when the component is empty. */}}
{{- define "epicenter.selector" -}}
{{- $root := index . 0 -}}
app.kubernetes.io/name: {{ include "epicenter.name" $root }}
app.kubernetes.io/instance: {{ $root.Release.Name }}
{{- with index . 1 }}
app.kubernetes.io/component: {{ . }}
{{- end }}
{{- end }}

{{- /* The names of all services. */ -}}
{{- define "epicenter.services" -}}
[exporter, enricher, correlator, fleet, sink, intake, console, alerts, archive]
{{- end }}

{{- /* A service's values above the defaults, as YAML: (list root service). */}}
{{- define "epicenter.service" -}}
{{- $root := index . 0 -}}
{{- $service := mergeOverwrite (deepCopy $root.Values.defaults) (deepCopy (index $root.Values (index . 1))) -}}
{{- /* Without a file there is nobody to be told. */}}
{{- if and (eq (index . 1) "alerts") (not $service.file) }}{{- $_ := set $service "enabled" false }}{{- end }}
{{- /* Without a place nothing is archived. */}}
{{- if and (eq (index . 1) "archive") (not $service.location) }}{{- $_ := set $service "enabled" false }}{{- end }}
{{- $service | toYaml }}
{{- end }}

{{- /* Whether a service works on a cluster: (list root service). */}}
{{- define "epicenter.onCluster" -}}
{{- $root := index . 0 -}}
{{- if or (eq (index . 1) "exporter") (and (eq (index . 1) "sink") (ne $root.Values.sink.role "central")) }}yes{{ end }}
{{- end }}

{{- define "epicenter.serviceAccount" -}}
{{- $service := include "epicenter.service" . | fromYaml -}}
{{- $own := printf "%s-%s" (include "epicenter.fullname" (index . 0)) (index . 1) -}}
{{- default (ternary $own "default" $service.serviceAccount.create) $service.serviceAccount.name }}
{{- end }}

{{- /* Names of what belongs to the whole cluster: (list root service). */}}
{{- define "epicenter.clusterName" -}}
{{- printf "%s:%s-%s" (index . 0).Release.Namespace (include "epicenter.fullname" (index . 0)) (index . 1) }}
{{- end }}

{{- /* The image with what a service, or a Job, needs: (list root service). */}}
{{- define "epicenter.image" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- with $root.Values.image -}}
{{- $tag := default $root.Chart.AppVersion .tag -}}
{{- if eq $name "exporter" -}}
{{- $tag = default (printf "%s-exporter" $tag) .exporterTag -}}
{{- else if or (eq $name "archive") (and (eq $name "console") $root.Values.archive.location) -}}
{{- $tag = default (printf "%s-archive" $tag) .archiveTag -}}
{{- end -}}
{{- printf "%s:%s" .repository $tag }}
{{- end }}
{{- end }}
