//! `cofidectl attestation-policy-binding`

use clap::{Args, Subcommand};

#[derive(Subcommand, Debug)]
pub enum BindingCommand {
    /// Bind a policy to a trust zone; without --federates-with its workloads trust their own trust domain alone
    #[command(after_help = "Example:\n  cofidectl attestation-policy-binding add --trust-zone trust-zone-a \\\n      \
                            --attestation-policy my-policy --federates-with trust-zone-b\n  \
                            cofidectl attestation-policy-binding add --trust-zone trust-zone-a \\\n      \
                            --attestation-policy my-policy --federates-with 'trust-zone-*'")]
    Add(AddArgs),
    /// List the bindings, and for which bundles their workloads still wait
    #[command(after_help = "Example:\n  cofidectl attestation-policy-binding list --trust-zone trust-zone-a")]
    List(ListArgs),
    /// Show one binding, and how it stands with each bundle that its workloads are to hold
    #[command(after_help = "Example:\n  cofidectl attestation-policy-binding get --trust-zone trust-zone-a \\\n      \
                            --attestation-policy my-policy")]
    Get(WhichArgs),
    /// Replace the trust zones that a binding federates with
    #[command(after_help = "Example:\n  cofidectl attestation-policy-binding update --trust-zone trust-zone-a \\\n      \
                            --attestation-policy my-policy --federates-with trust-zone-b,trust-zone-c")]
    Update(UpdateArgs),
    /// Remove a binding
    #[command(
        after_help = "Example:\n  cofidectl attestation-policy-binding del --trust-zone trust-zone-a \\\n      --attestation-policy my-policy"
    )]
    Del(WhichArgs),
}

#[derive(Args, Debug)]
pub struct WhichArgs {
    /// Name or id of the trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: String,
    /// Name or id of the policy
    #[arg(long, value_name = "POLICY")]
    pub attestation_policy: String,
}

#[derive(Args, Debug)]
pub struct AddArgs {
    #[command(flatten)]
    pub which: WhichArgs,
    /// Trust zones whose bundles the workloads receive, comma-separated or repeated; * stands for any characters, as in
    /// 'trust-zone-*': all those, also later ones, with which the trust zone federates
    #[arg(long, value_name = "ZONE", value_delimiter = ',')]
    pub federates_with: Vec<String>,
}

#[derive(Args, Debug)]
pub struct UpdateArgs {
    #[command(flatten)]
    pub which: WhichArgs,
    /// Trust zones whose bundles the workloads receive from now on, comma-separated or repeated; * stands for any characters,
    /// as in 'trust-zone-*': all those, also later ones, with which the trust zone federates
    #[arg(long, value_name = "ZONE", value_delimiter = ',')]
    pub federates_with: Vec<String>,
    /// The workloads receive no foreign bundle any more
    #[arg(long)]
    pub clear_federations: bool,
}

#[derive(Args, Debug)]
pub struct ListArgs {
    /// Only bindings in this trust zone
    #[arg(long, value_name = "ZONE")]
    pub trust_zone: Option<String>,
    /// Only bindings of this policy
    #[arg(long, value_name = "POLICY")]
    pub attestation_policy: Option<String>,
}
