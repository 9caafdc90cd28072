//! The dead-man's switch is tied to the pipeline: it tells of signals that come through.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use epicenter_alerts::watch;
use epicenter_bus::{Emit, Stop, topics};

use crate::{LIMIT, context};

async fn count(State(calls): State<Arc<AtomicUsize>>) {
    calls.fetch_add(1, Ordering::SeqCst);
}

#[tokio::test(flavor = "multi_thread")]
async fn is_heard_when_a_signal_comes_through() {
    let calls = Arc::new(AtomicUsize::new(0));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let router = Router::new().fallback(count).with_state(Arc::clone(&calls));
    tokio::spawn(async move { axum::serve(listener, router).await });
    let text = format!(
        "receivers: [{{name: am, alertmanager: {{url: 'http://{at}'}}}}]\nwatchdog: {{receivers: [am], heartbeat: 'http://{at}/beat'}}\n"
    );
    let directory = tempfile::tempdir().unwrap();
    let context = context(directory.path(), 1, &text);
    let stop = Stop::new();
    let thread = {
        let (context, stop) = (context.clone(), stop.clone());
        std::thread::spawn(move || watch(&context, &context.alerts.watchdog.clone().unwrap(), &stop))
    };
    let (mut source, _) = context.bus.source("correlator", 0, b"correlator/").unwrap();
    // Signals from before it began tell nothing of now; one of those that follow is the first that it hears.
    let deadline = Instant::now() + LIMIT;
    while calls.load(Ordering::SeqCst) < 2 {
        assert!(Instant::now() < deadline);
        let payload = Some(vec![1].into());
        let (topic, headers) = (topics::FLEET_SIGNALS.name, vec![]);
        source.commit(&[Emit { topic, timestamp: 1, key: "c".into(), payload, headers }], &[]).unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    stop.request();
    tokio::task::spawn_blocking(|| thread.join().unwrap().unwrap()).await.unwrap();
    assert_eq!(calls.load(Ordering::SeqCst), 2, "one for each, and the next a minute later");
    let shown = context.metrics.text();
    assert!(shown.contains("epicenter_alerts_watchdog_total{receiver=\"am\",outcome=\"sent\"} 1"), "{shown}");
}
