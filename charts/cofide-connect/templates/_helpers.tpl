{{/* Names as `helm create` makes them: a release whose name contains the chart's gives the fullname. */}}
{{- define "cofide-connect.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Room is left for the suffixes -admin. */}}
{{- define "cofide-connect.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "cofide-connect.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cofide-connect.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cofide-connect.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cofide-connect.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cofide-connect.serviceAccountName" -}}
{{- default (ternary (include "cofide-connect.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "cofide-connect.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{/* "::" and a port make "[::]:8443". */}}
{{- define "cofide-connect.listen" -}}
{{- $address := .address }}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}:{{ .port }}
{{- end }}

{{- define "cofide-connect.url" -}}
{{- default (printf "%s.%s.svc:%v" (include "cofide-connect.fullname" .) .Release.Namespace .Values.service.port) .Values.connectUrl }}
{{- end }}

{{/* What the objects of this chart depend on wins over .Values.config. */}}
{{- define "cofide-connect.config" -}}
{{- $service := printf "%s.%s.svc" (include "cofide-connect.fullname" .) .Release.Namespace }}
{{- $own := dict
  "data_dir" "/var/lib/cofide-connect/data"
  "listen_address" (include "cofide-connect.listen" (dict "address" .Values.listenAddress "port" 8443))
  "admin_address" (include "cofide-connect.listen" (dict "address" .Values.listenAddress "port" .Values.adminServer.port))
  "connect_url" (include "cofide-connect.url" .)
  "dns_names" (concat (list $service) (default list .Values.config.dns_names) | uniq)
}}
{{- with .Values.datastore.sqlConnectionString }}
{{- if .existingSecret }}
{{- $_ := set $own "sql_connection_string_file" (printf "/etc/cofide-connect-datastore/%s" .key) }}
{{- end }}
{{- end }}
{{- mergeOverwrite (deepCopy .Values.config) $own | toYaml }}
{{- end }}
