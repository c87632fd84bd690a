//! A folder of manifests: the source of profile `host`.
//!
//! Every run reads the whole folder. That is cheap (a few small files), needs no bookkeeping about events, and gives the
//! same result after a burst of events, a lost event or a restart. The watcher ([`watch`]) only says when.
//!
//! A folder that cannot be listed is not an empty folder: the last view stays, and the failure is reported.

pub mod scan;
pub mod watch;
