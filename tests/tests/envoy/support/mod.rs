//! The parts that the tests put together.

mod applications;
mod pod;
mod world;
mod zone;

use std::future::Future;
use std::time::{Duration, Instant};

use cofide_testkit::envoy::Envoy;

pub(crate) use applications::{Server, Tls, connect_plain, connect_tls, listen_first};
pub(crate) use pod::Pod;
pub(crate) use world::{Agent, POOL, gateway_at, import, route};
pub(crate) use zone::Zone;

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

/// Tries until it works; a failure to the end shows what the Envoys were told and said.
pub(crate) async fn eventually<T, Fut>(what: &str, envoys: &[&Envoy], mut attempt: impl FnMut() -> Fut) -> T
where
    Fut: Future<Output = anyhow::Result<T>>,
{
    let start = Instant::now();
    loop {
        let error = match tokio::time::timeout(DEADLINE, attempt()).await {
            Ok(Ok(value)) => return value,
            Ok(Err(error)) => format!("{error:#}"),
            Err(_) => "no answer".to_owned(),
        };
        if start.elapsed() > DEADLINE {
            let mut dumps = String::new();
            for envoy in envoys {
                dumps.push_str(&envoy.dump().await);
            }
            panic!("not within {DEADLINE:?}: {what}: {error}\n{dumps}");
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
}
