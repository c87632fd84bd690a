//! Whoever knows the names that are not imported.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use hickory_proto::rr::{Name, Record, RecordType};
use tokio::sync::Semaphore;

/// What the upstream said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    Records(Vec<Record>),
    /// The name exists without records of this type. With the SOA record, where there was one.
    NoData(Option<Box<Record>>),
    NoSuchName(Option<Box<Record>>),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    #[error("there is no upstream name server to ask")]
    NoUpstream,
    #[error("the upstream name servers did not answer within {} ms", .0.as_millis())]
    Timeout(Duration),
    #[error("{0} queries are waiting for the upstream already")]
    Busy(usize),
    #[error("the upstream name servers failed: {0}")]
    Failed(String),
}

/// Answers questions of class IN about names that are not imported.
#[async_trait]
pub trait Resolver: Send + Sync + 'static {
    async fn resolve(&self, name: Name, kind: RecordType) -> Result<Answer, ResolveError>;
}

/// Queries that may wait for the upstream at the same time; the next one fails at once. Some hundred kilobytes at most.
const MAX_WAITING: usize = 512;

/// A stub resolver waits five seconds before it asks again (resolv.conf(5)); an answer after that is for nobody.
const TIMEOUT: Duration = Duration::from_secs(4);

/// Keeps a slow or dead upstream from piling up work.
pub(crate) struct Bounded {
    resolver: Arc<dyn Resolver>,
    waiting: Semaphore,
    limit: usize,
    timeout: Duration,
}

impl Bounded {
    pub(crate) fn new(resolver: Arc<dyn Resolver>) -> Self {
        Self::with_limits(resolver, MAX_WAITING, TIMEOUT)
    }

    pub(crate) fn with_limits(resolver: Arc<dyn Resolver>, limit: usize, timeout: Duration) -> Self {
        Self { resolver, waiting: Semaphore::new(limit), limit, timeout }
    }

    pub(crate) async fn resolve(&self, name: Name, kind: RecordType) -> Result<Answer, ResolveError> {
        let _place = self.waiting.try_acquire().map_err(|_| ResolveError::Busy(self.limit))?;
        tokio::time::timeout(self.timeout, self.resolver.resolve(name, kind)).await.unwrap_or(Err(ResolveError::Timeout(self.timeout)))
    }
}
