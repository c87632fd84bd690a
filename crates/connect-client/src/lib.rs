//! The way to Connect: who it is, how to reach it, and what it tells an agent.
//!
//! ```text
//!  credential file (a person)        bootstrap file (an agent that joins)       identity and bundles (a joined agent)
//!          │ Credential                       │ Bootstrap                               │ IdentitySource, BundleSource
//!          v                                  v                                         v
//!     connect_as_user                   connect_to_join                          connect_as_agent
//!          └──────────────────────────────────┼─────────────────────────────────────────┘
//!                                             v
//!                      a gRPC channel over TLS; the server is exactly the expected SPIFFE ID
//!                                             │
//!                                             v
//!                      PlanStream: plan resources, decoded, resumed, acknowledged
//! ```
//!
//! There is no trust on first use: each way begins with Connect's SPIFFE ID and the authorities of its trust domain,
//! from a file that a person or `cofidectl` has put there. Both files hold a secret, so both are written with mode 0600
//! and refused when others may read them; nothing here prints a secret, also not in an error about a file that has one.

mod bootstrap;
mod channel;
mod credential;
mod fields;
mod outage;
mod patience;
mod plan_stream;
mod refusal;
mod token;
mod url;
mod while_valid;

pub use bootstrap::Bootstrap;
pub use channel::{ConnectError, UserChannel, connect_as_agent, connect_as_user, connect_to_join};
pub use cofide_xds::Node;
pub use cofide_xds::client::Versions;
pub use credential::Credential;
pub use fields::FileError;
pub use patience::{RETRY_PUSHBACK, patiently};
pub use plan_stream::{PlanChanges, PlanReceipt, PlanStream, PlanStreamState, ReceivedPlanResource};
pub use refusal::{explain, not_recognised, refused_identity};
pub use token::{AccessToken, BearerToken};
pub use url::{ConnectUrl, ConnectUrlError};
