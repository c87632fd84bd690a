{{/* The pod, for the StatefulSet with a volume and for the Deployment without. */}}
{{- define "cofide-connect.pod" -}}
{{- $restrictedPod := dict
  "runAsNonRoot" true
  "runAsUser" 65532
  "runAsGroup" 65532
  "fsGroup" 65532
  "fsGroupChangePolicy" "OnRootMismatch"
  "seccompProfile" (dict "type" "RuntimeDefault")
}}
{{- $restrictedContainer := dict
  "allowPrivilegeEscalation" false
  "readOnlyRootFilesystem" true
  "capabilities" (dict "drop" (list "ALL"))
-}}
metadata:
  annotations:
    # The configuration is read once, at the start.
    checksum/config: {{ include "cofide-connect.config" . | sha256sum }}
    {{- with .Values.podAnnotations }}{{ toYaml . | nindent 4 }}{{ end }}
  labels:
    {{- include "cofide-connect.labels" . | nindent 4 }}
    {{- with .Values.podLabels }}{{ toYaml . | nindent 4 }}{{ end }}
spec:
  {{- with .Values.imagePullSecrets }}
  imagePullSecrets:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  serviceAccountName: {{ include "cofide-connect.serviceAccountName" . }}
  automountServiceAccountToken: false
  securityContext:
    {{- mergeOverwrite $restrictedPod (deepCopy .Values.podSecurityContext) | toYaml | nindent 4 }}
  {{- with .Values.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  terminationGracePeriodSeconds: 30
  containers:
    - name: cofide-connect
      image: {{ include "cofide-connect.image" . }}
      imagePullPolicy: {{ .Values.image.pullPolicy }}
      args: [serve]
      securityContext:
        {{- mergeOverwrite $restrictedContainer (deepCopy .Values.securityContext) | toYaml | nindent 8 }}
      env:
        - name: COFIDE_CONNECT_CONFIG
          value: /etc/cofide-connect/config.yaml
        # Also in the file; here for `kubectl exec ... cofide-connect admin-credential`.
        - name: COFIDE_CONNECT_DATA_DIR
          value: /var/lib/cofide-connect/data
      ports:
        - name: grpc
          containerPort: 8443
        - name: admin
          containerPort: {{ .Values.adminServer.port }}
      # A database that has grown may take its time to be read.
      startupProbe:
        httpGet:
          path: /healthz/live
          port: admin
        periodSeconds: 2
        failureThreshold: 60
      livenessProbe:
        httpGet:
          path: /healthz/live
          port: admin
        periodSeconds: 10
        timeoutSeconds: 3
      readinessProbe:
        httpGet:
          path: /healthz/ready
          port: admin
        periodSeconds: 5
        timeoutSeconds: 3
      resources:
        {{- toYaml .Values.resources | nindent 8 }}
      volumeMounts:
        - name: config
          mountPath: /etc/cofide-connect
          readOnly: true
        - name: data
          mountPath: /var/lib/cofide-connect
        {{- if .Values.datastore.sqlConnectionString.existingSecret }}
        - name: datastore
          mountPath: /etc/cofide-connect-datastore
          readOnly: true
        {{- else }}
        # SQLite sorts in files where memory does not do.
        - name: tmp
          mountPath: /tmp
        {{- end }}
  volumes:
    - name: config
      configMap:
        name: {{ include "cofide-connect.fullname" . }}
    {{- if .Values.datastore.sqlConnectionString.existingSecret }}
    - name: datastore
      secret:
        secretName: {{ .Values.datastore.sqlConnectionString.existingSecret }}
        # Octal 400, which the group, named by fsGroup, may read too. As a decimal number it means the same to every reader of YAML.
        defaultMode: 256
    # A copy of the admin credential, to be printed.
    - name: data
      emptyDir:
        medium: Memory
        sizeLimit: 4Mi
    {{- else }}
    - name: tmp
      emptyDir: {}
    {{- if not .Values.persistence.enabled }}
    - name: data
      emptyDir: {}
    {{- else if .Values.persistence.existingClaim }}
    - name: data
      persistentVolumeClaim:
        claimName: {{ .Values.persistence.existingClaim }}
    {{- end }}
    {{- end }}
  {{- with .Values.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with .Values.affinity }}
  affinity:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
