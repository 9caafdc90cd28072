{{- /* The section `bus` of epicenter.yaml. */}}
{{- define "epicenter.bus" -}}
kafka:
  bootstrap: {{ required "kafka.bootstrap: set the brokers, such as broker-1:9092,broker-2:9092" .Values.kafka.bootstrap | quote }}
  prefix: {{ .Values.kafka.prefix | quote }}
  partitions: {{ int .Values.kafka.partitions }}
  replication: {{ int .Values.kafka.replication }}
  {{- if .Values.kafka.token }}
  token_file: /etc/epicenter/secrets/kafka-token
  {{- end }}
  {{- with .Values.kafka.properties }}
  properties:
    {{- range $property, $value := . }}
    {{ $property }}: {{ $value | quote }}
    {{- end }}
  {{- end }}
  {{- with .Values.kafka.secrets }}
  secrets:
    {{- range $property, $_ := . }}
    {{ $property }}: {file: /etc/epicenter/secrets/kafka/{{ $property }}}
    {{- end }}
  {{- end }}
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

{{- /* epicenter.yaml; what `config` says is above it. */}}
{{- define "epicenter.config" -}}
{{- $settings := dict "log" .Values.log }}
{{- $_ := set $settings "bus" (include "epicenter.bus" . | fromYaml) }}
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

{{- /* Sources of a projected volume: the Secrets that brokers and registry ask for. */}}
{{- define "epicenter.logSecrets" -}}
{{- range $property, $secret := .Values.kafka.secrets }}
- secret: {name: {{ $secret.secretName }}, items: [{key: {{ $secret.key }}, path: kafka/{{ $property }}}]}
{{- end }}
{{- with .Values.kafka.token }}
- serviceAccountToken: {audience: {{ .audience | quote }}, expirationSeconds: {{ int (default 3600 .expirationSeconds) }}, path: kafka-token}
{{- end }}
{{- if .Values.registry.url }}
{{- range $file := list "password" "token" "ca" }}
{{- with index $.Values.registry $file }}
- secret: {name: {{ .secretName }}, items: [{key: {{ .key }}, path: registry/{{ $file }}}]}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{- define "epicenter.secrets" -}}
{{- include "epicenter.logSecrets" . }}
{{- with .Values.admin.token }}
- secret: {name: {{ .secretName }}, items: [{key: {{ .key }}, path: admin/token}]}
{{- end }}
{{- range .Values.admin.tokens }}
- secret: {name: {{ .secretName }}, items: [{key: {{ .key }}, path: {{ printf "admin/tokens/%s" .name }}}]}
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
