{{/* Names as `helm create` makes them: a release whose name contains the chart's gives the fullname. */}}
{{- define "cofide-agent.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{/* Room is left for the suffixes: -xds, -gateway, -bootstrap. */}}
{{- define "cofide-agent.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 52 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "cofide-agent.selectorLabels" -}}
app.kubernetes.io/name: {{ include "cofide-agent.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cofide-agent.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cofide-agent.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "cofide-agent.serviceAccountName" -}}
{{- default (ternary (include "cofide-agent.fullname" .) "default" .Values.serviceAccount.create) .Values.serviceAccount.name }}
{{- end }}

{{- define "cofide-agent.image" -}}
{{- with .Values.image.registry }}{{ . }}/{{ end }}{{ .Values.image.repository }}:{{ default .Chart.AppVersion .Values.image.tag }}
{{- end }}

{{/* What every pod of the chart has at least. */}}
{{- define "cofide-agent.restrictedPod" -}}
runAsNonRoot: true
runAsUser: 65532
runAsGroup: 65532
fsGroup: 65532
seccompProfile:
  type: RuntimeDefault
{{- end }}

{{- define "cofide-agent.restrictedContainer" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/* The gateway has a name of its own: what selects the agent's pods must not select it. */}}
{{- define "cofide-agent.gateway.fullname" -}}
{{ include "cofide-agent.fullname" . }}-gateway
{{- end }}

{{- define "cofide-agent.gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ printf "%s-gateway" (include "cofide-agent.name" . | trunc 55) }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "cofide-agent.gateway.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "cofide-agent.gateway.selectorLabels" . }}
app.kubernetes.io/component: gateway
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{/* "::" and a port make "[::]:18001". */}}
{{- define "cofide-agent.listen" -}}
{{- $address := .address }}
{{- if contains ":" $address }}[{{ $address }}]{{ else }}{{ $address }}{{ end }}:{{ .port }}
{{- end }}

{{- define "cofide-agent.xdsPort" -}}
{{- default .Values.xdsServer.service.port .Values.xdsServer.service.targetPort }}
{{- end }}

{{/* The Secret with the bootstrap file; empty where there is none. */}}
{{- define "cofide-agent.bootstrapSecret" -}}
{{- if .Values.bootstrap.existingSecret }}
{{- .Values.bootstrap.existingSecret }}
{{- else if .Values.bootstrap.connect.bundle }}
{{- printf "%s-bootstrap" (include "cofide-agent.fullname" .) }}
{{- end }}
{{- end }}

{{/* The bootstrap file, from the same values as the environment. */}}
{{- define "cofide-agent.bootstrap" -}}
{{- $env := .Values.agent.env }}
{{- range $key := list "COFIDE_CONNECT_URL" "TRUST_ZONE_ID" "TRUST_DOMAIN" "CLUSTER_ID" "COFIDE_AGENT_CLUSTER_NAME" "AGENT_TOKEN" }}
{{- if not (get $env $key) }}
{{- fail (printf "agent.env.%s is empty, and bootstrap.connect needs it; cofidectl agent helm-values --with-join-token prints all of them" $key) }}
{{- end }}
{{- end }}
{{- $file := dict
  "connect_url" ($env.COFIDE_CONNECT_URL | toString)
  "trust_zone_id" ($env.TRUST_ZONE_ID | toString)
  "trust_domain" ($env.TRUST_DOMAIN | toString)
  "cluster_id" ($env.CLUSTER_ID | toString)
  "cluster_name" ($env.COFIDE_AGENT_CLUSTER_NAME | toString)
  "agent_token" ($env.AGENT_TOKEN | toString)
  "connect_trust_domain" (regexReplaceAll "^spiffe://([^/]+).*$" .Values.bootstrap.connect.spiffeID "${1}")
  "connect_spiffe_id" .Values.bootstrap.connect.spiffeID
  "connect_bundle" .Values.bootstrap.connect.bundle
}}
{{- toYaml $file }}
{{- end }}

{{/* What agent.env says of a variable that the chart sets itself would be lost without a word. Each is here with where it comes from. */}}
{{- define "cofide-agent.refuseOwnVariables" -}}
{{- $own := dict
  "AGENT_SPIRE" "spire.mode"
  "COFIDE_AGENT_XDS_ADDRESS" "listenAddress and xdsServer.service"
  "COFIDE_AGENT_DNS_ADDRESS" "listenAddress and dnsServer.port"
  "COFIDE_AGENT_ADMIN_ADDRESS" "listenAddress and adminServer.port"
  "SPIFFE_ENDPOINT_SOCKET" "spiffeEndpointSocket"
}}
{{- if .upstreams }}{{ $_ := set $own "COFIDE_AGENT_DNS_UPSTREAMS" "dnsServer.upstreams" }}{{ end }}
{{- if .socket }}{{ $_ := set $own "COFIDE_AGENT_SPIRE_SERVER_SOCKET" "spire.socket" }}{{ end }}
{{- if .className }}{{ $_ := set $own "COFIDE_AGENT_SPIRE_CLASS_NAME" "spire.className" }}{{ end }}
{{- if .secret }}{{ $_ := set $own "COFIDE_AGENT_BOOTSTRAP_FILE" "bootstrap" }}{{ end }}
{{- if .mesh }}
{{- $_ := set $own "COFIDE_AGENT_MESH_NAMESPACE" "mesh.namespace" }}
{{- $_ := set $own "COFIDE_AGENT_MESH_CONFIG_MAP" "mesh.configMap" }}
{{- $_ := set $own "COFIDE_AGENT_ISTIOD" "mesh.istiod" }}
{{- $_ := set $own "AGENT_MANAGE_MESH_CONFIG" "mesh.manageConfig" }}
{{- end }}
{{- if .gateway }}
{{- $_ := set $own "COFIDE_AGENT_GATEWAY_LISTEN_ADDRESS" "listenAddress and gateway.port" }}
{{- range $key := list "COFIDE_AGENT_GATEWAY_NAMESPACE" "COFIDE_AGENT_INGRESS_GATEWAY" "COFIDE_AGENT_EAST_WEST_GATEWAY" }}
{{- $_ := set $own $key "gateway.enabled" }}
{{- end }}
{{- end }}
{{- range $key, $value := $own }}
{{- if hasKey $.env $key }}
{{- fail (printf "agent.env.%s would have no effect, because the chart sets that variable from %s: use that value, and leave agent.env.%s out" $key $value $key) }}
{{- end }}
{{- end }}
{{- range $key := list "COFIDE_AGENT_DATA_DIR" "POD_NAME" "POD_NAMESPACE" }}
{{- if hasKey $.env $key }}
{{- fail (printf "agent.env.%s would have no effect, because the chart sets that variable as the pod has it: leave agent.env.%s out" $key $key) }}
{{- end }}
{{- end }}
{{- end }}
