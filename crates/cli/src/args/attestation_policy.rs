//! `cofidectl attestation-policy`

use clap::{Args, Subcommand};
use cofide_core::{LabelSelector, Name, Selector};

#[derive(Subcommand, Debug)]
pub enum AttestationPolicyCommand {
    /// Create a policy
    #[command(subcommand)]
    Add(AddCommand),
    /// List the policies, by kind
    #[command(after_help = "Example:\n  cofidectl attestation-policy list")]
    List,
    /// Show one policy
    #[command(after_help = "Example:\n  cofidectl attestation-policy get ping-pong-server")]
    Get(NameArgs),
    /// Remove a policy that no binding uses
    #[command(after_help = "Example:\n  cofidectl attestation-policy del ping-pong-server")]
    Del(NameArgs),
}

#[derive(Subcommand, Debug)]
pub enum AddCommand {
    /// For pods, by their namespace and labels
    #[command(
        after_help = "Example:\n  cofidectl attestation-policy add kubernetes --name demo --namespace demo \\\n      --pod-label app=server"
    )]
    Kubernetes(KubernetesArgs),
    /// One identity for whatever carries all of the selectors
    #[command(
        after_help = "Example:\n  cofidectl attestation-policy add static --name server \\\n      --spiffe-id-path ns/demo/sa/server \
                            --parent-id-path spire/agent \\\n      --selectors unix:uid:1000,unix:path:/usr/bin/server"
    )]
    Static(StaticArgs),
    /// For nodes with a TPM, by their endorsement key
    #[command(after_help = "Example:\n  cofidectl attestation-policy add tpm-node --name node-1 \\\n    --ek-hash \
                            0000000000000000000000000000000000000000000000000000000000000000")]
    TpmNode(TpmNodeArgs),
}

#[derive(Args, Debug)]
pub struct NameArgs {
    /// Name or id
    pub name: String,
}

#[derive(Args, Debug)]
pub struct KubernetesArgs {
    /// A name for people
    #[arg(long)]
    pub name: Name,
    /// Only pods of this namespace
    #[arg(long)]
    pub namespace: Option<String>,
    /// Only pods with these labels, as kubectl takes them: app=server,tier in (a,b)
    #[arg(long, value_name = "SELECTOR", value_parser = crate::label_selector::parse)]
    pub pod_label: Option<LabelSelector>,
    /// Path of the SPIFFE ID, as in ns/{{ .PodMeta.Namespace }}/sa/{{ .PodSpec.ServiceAccountName }}
    #[arg(long, value_name = "TEMPLATE")]
    pub spiffeid_path_template: Option<String>,
    /// DNS names of the X.509-SVID, comma-separated or repeated
    #[arg(long = "dnsNameTemplates", alias = "dns-name-templates", value_name = "TEMPLATE", value_delimiter = ',')]
    pub dns_name_templates: Vec<String>,
}

#[derive(Args, Debug)]
pub struct StaticArgs {
    /// A name for people
    #[arg(long)]
    pub name: Name,
    /// Path of the SPIFFE ID, with or without a leading slash
    #[arg(long, value_name = "PATH")]
    pub spiffe_id_path: String,
    /// Path of the SPIFFE ID of the node or agent that may ask for it
    #[arg(long, value_name = "PATH")]
    pub parent_id_path: String,
    /// What a workload must have, as type:key:value, comma-separated or repeated
    #[arg(long, value_name = "SELECTOR", value_delimiter = ',', required = true)]
    pub selectors: Vec<Selector>,
    /// DNS names of the X.509-SVID, comma-separated or repeated
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub dns_names: Vec<String>,
}

#[derive(Args, Debug)]
pub struct TpmNodeArgs {
    /// A name for people
    #[arg(long)]
    pub name: Name,
    /// SHA-256 of the endorsement key, 64 lower-case hexadecimal digits
    #[arg(long, value_name = "HASH")]
    pub ek_hash: String,
    /// Values of further selectors of type tpm, comma-separated or repeated
    #[arg(long = "selector-value", value_name = "VALUE", value_delimiter = ',')]
    pub selector_values: Vec<String>,
}
