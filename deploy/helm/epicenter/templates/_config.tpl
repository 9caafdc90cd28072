{{- /* How a service, or the Job `topics`, reaches the brokers: its own `kafka` above that of all. (list root service) */}}
{{- define "epicenter.kafka" -}}
{{- $root := index . 0 -}}
{{- $own := dict -}}
{{- with index . 1 -}}
{{- $own = default dict (ternary $root.Values.topics (include "epicenter.service" (list $root .) | fromYaml) (eq . "topics")).kafka -}}
{{- end -}}
{{- mergeOverwrite (deepCopy $root.Values.kafka) (deepCopy $own) | toYaml }}
{{- end }}

{{- /* The section `bus` of epicenter.yaml: (list root service). */}}
{{- define "epicenter.bus" -}}
{{- with include "epicenter.kafka" . | fromYaml -}}
kafka:
  bootstrap: {{ required "kafka.bootstrap: set the brokers, such as broker-1:9092,broker-2:9092" .bootstrap | quote }}
  prefix: {{ .prefix | quote }}
  partitions: {{ int .partitions }}
  replication: {{ int .replication }}
  {{- if .token }}
  token_file: /etc/epicenter/secrets/kafka-token
  {{- end }}
  {{- with .tokenEndpoint }}
  token_endpoint:
    url: {{ .url | quote }}
    client_id: {{ .clientId | quote }}
    client_secret: {file: /etc/epicenter/secrets/token-endpoint/secret}
    scope: {{ default "" .scope | quote }}
    {{- if .ca }}
    ca: /etc/epicenter/secrets/token-endpoint/ca
    {{- end }}
  {{- end }}
  {{- with .properties }}
  properties:
    {{- range $property, $value := . }}
    {{ $property }}: {{ $value | quote }}
    {{- end }}
  {{- end }}
  {{- with .secrets }}
  secrets:
    {{- range $property, $_ := . }}
    {{ $property }}: {file: /etc/epicenter/secrets/kafka/{{ $property }}}
    {{- end }}
  {{- end }}
{{- end }}
{{- end }}

{{- /* The key of a service's configuration in the ConfigMap: one of its own, when it reaches the brokers in a way of its own.
(list root service) */}}
{{- define "epicenter.configKey" -}}
{{- $service := include "epicenter.service" . | fromYaml -}}
{{- if $service.kafka }}{{ printf "%s.yaml" (index . 1) }}{{ else }}epicenter.yaml{{ end }}
{{- end }}

{{- /* The section `registry` of epicenter.yaml. */}}
{{- define "epicenter.registry" -}}
{{- with .Values.registry -}}
url: {{ .url | quote }}
write: {{ .write }}
cache: /var/cache/epicenter
{{- with .username }}
username: {{ . | quote }}
{{- end }}
{{- if .password }}
password: {file: /etc/epicenter/secrets/registry/password}
{{- end }}
{{- if .token }}
token: {file: /etc/epicenter/secrets/registry/token}
{{- end }}
{{- if .ca }}
ca: /etc/epicenter/secrets/registry/ca
{{- end }}
{{- end }}
{{- end }}

{{- /* The section `archive` of epicenter.yaml. */}}
{{- define "epicenter.archive" -}}
{{- with .Values.archive -}}
location: {{ .location | quote }}
s3:
  endpoint: {{ .s3.endpoint | quote }}
  region: {{ .s3.region | quote }}
  {{- if .s3.accessKeyId }}
  access_key_id: {file: /etc/epicenter/archive-secrets/access-key-id}
  {{- end }}
  {{- if .s3.secretAccessKey }}
  secret_access_key: {file: /etc/epicenter/archive-secrets/secret-access-key}
  {{- end }}
{{- with .retention }}
retention:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
{{- end }}

{{- /* epicenter.yaml of a service, or of all that have none of their own; what `config` says is above it. (list root service) */}}
{{- define "epicenter.config" -}}
{{- $bus := include "epicenter.bus" . | fromYaml }}
{{- with index . 0 }}
{{- $settings := dict "log" .Values.log }}
{{- $_ := set $settings "bus" $bus }}
{{- if .Values.registry.url }}
{{- $_ := set $settings "registry" (include "epicenter.registry" . | fromYaml) }}
{{- end }}
{{- if .Values.archive.location }}
{{- $_ := set $settings "archive" (include "epicenter.archive" . | fromYaml) }}
{{- end }}
{{- $admin := dict "listen" (printf "0.0.0.0:%d" (int .Values.admin.port)) }}
{{- if .Values.admin.token }}
{{- $_ := set $admin "token" (dict "file" "/etc/epicenter/secrets/admin/token") }}
{{- end }}
{{- $tokens := list }}
{{- range .Values.admin.tokens }}
{{- $token := dict "name" .name "token" (dict "file" (printf "/etc/epicenter/secrets/admin/tokens/%s" .name)) }}
{{- $tokens = append $tokens (merge $token (pick . "clusters" "namespaces" "write")) }}
{{- end }}
{{- with $tokens }}
{{- $_ := set $admin "tokens" . }}
{{- end }}
{{- $_ := set $settings "admin" $admin }}
{{- with .Values.console }}
{{- if .enabled }}
{{- $_ := set $settings "console" (dict "listen" (printf "0.0.0.0:%d" (int .port)) "token" (dict "file" "/etc/epicenter/secrets/console/token") "hosts" .hosts) }}
{{- end }}
{{- end }}
{{- $_ := set $settings "objects" (dict "instance" (printf "%s-sink" (include "epicenter.fullname" .))) }}
{{- $exporter := dict }}
{{- with .Values.cluster }}
{{- $_ := set $exporter "cluster" . }}
{{- end }}
{{- with .Values.spool }}
{{- if .enabled }}
{{- $_ := set $exporter "spool" (dict "directory" "/var/lib/epicenter/spool" "max_bytes" (int64 .maxBytes)) }}
{{- end }}
{{- end }}
{{- with $exporter }}
{{- $_ := set $settings "exporter" . }}
{{- end }}
{{- mergeOverwrite $settings (deepCopy .Values.config) | toYaml }}
{{- end }}
{{- end }}

{{- /* Sources of a projected volume: the Secrets that brokers and registry ask for. (list root service) */}}
{{- define "epicenter.logSecrets" -}}
{{- with include "epicenter.kafka" . | fromYaml }}
{{- range $property, $secret := .secrets }}
- secret: {name: {{ $secret.secretName }}, items: [{key: {{ $secret.key }}, path: kafka/{{ $property }}}]}
{{- end }}
{{- with .token }}
- serviceAccountToken: {audience: {{ .audience | quote }}, expirationSeconds: {{ int (default 3600 .expirationSeconds) }}, path: kafka-token}
{{- end }}
{{- with .tokenEndpoint }}
- secret: {name: {{ .clientSecret.secretName }}, items: [{key: {{ .clientSecret.key }}, path: token-endpoint/secret}]}
{{- with .ca }}
- secret: {name: {{ .secretName }}, items: [{key: {{ .key }}, path: token-endpoint/ca}]}
{{- end }}
{{- end }}
{{- end }}
{{- $registry := (index . 0).Values.registry }}
{{- if $registry.url }}
{{- range $file := list "password" "token" "ca" }}
{{- with index $registry $file }}
- secret: {name: {{ .secretName }}, items: [{key: {{ .key }}, path: registry/{{ $file }}}]}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "epicenter.secrets" -}}
{{- include "epicenter.logSecrets" . }}
{{- with (index . 0).Values.admin }}
{{- with .token }}
- secret: {name: {{ .secretName }}, items: [{key: {{ .key }}, path: admin/token}]}
{{- end }}
{{- range .tokens }}
- secret: {name: {{ .secretName }}, items: [{key: {{ .key }}, path: {{ printf "admin/tokens/%s" .name }}}]}
{{- end }}
{{- end }}
{{- end }}

{{- define "epicenter.podSecurity" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile: {type: RuntimeDefault}
{{- end }}

{{- define "epicenter.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities: {drop: [ALL]}
{{- end }}
