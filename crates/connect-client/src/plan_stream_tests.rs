//! What the log says while Connect is away.

use std::io;
use std::sync::{Arc, Mutex};

use super::*;
use tonic::transport::Endpoint;

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn count(&self, words: &str) -> usize {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap().lines().filter(|line| line.contains(words)).count()
    }
}

#[tokio::test]
async fn a_cause_is_warned_of_once_however_often_it_is_met() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber =
        tracing_subscriber::fmt().with_ansi(false).with_max_level(tracing::Level::DEBUG).with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    // A port on which nobody listens any more.
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut stream = PlanStream::new(channel, Node::default(), Versions::new());
    let retried = async {
        while log.count("still no plan") < 2 {
            let _ = tokio::time::timeout(Duration::from_millis(20), stream.next()).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(20), retried).await.is_err() {
        panic!("{}", String::from_utf8_lossy(&log.0.lock().unwrap()));
    }
    assert_eq!(log.count(" WARN "), 1, "{}", String::from_utf8_lossy(&log.0.lock().unwrap()));
}
