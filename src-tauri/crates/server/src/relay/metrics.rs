//! Numbers for operators, in Prometheus's text format.

use super::shared::Shared;
use axum::Router;
use axum::routing::get;
use std::fmt::Write;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// A way to the numbers.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(pub(super) Arc<Shared>);

impl Metrics {
    /// All of them.
    pub(crate) fn text(&self) -> String {
        let (counters, allocations) = self.0.counted();
        let mut text = String::new();
        let mut row = |name: &str, kind: &str, value: u64| {
            // Writing to a string does not fail.
            let _ = write!(text, "# TYPE lanrage_{name} {kind}\nlanrage_{name} {value}\n");
        };
        row("relay_allocations", "gauge", u64::from(allocations));
        row("relay_unsent_packets_total", "counter", self.0.unsent());
        for (name, value) in counters.rows() {
            row(&format!("relay_{name}_total"), "counter", value);
        }
        text
    }
}

/// Serves nothing but the numbers, until the server stops.
pub(crate) async fn serve(listener: TcpListener, metrics: Metrics, mut stopping: watch::Receiver<bool>) {
    let router = Router::new().route("/metrics", get(async move || metrics.text()));
    let stopped = async move {
        let _ = stopping.wait_for(|stopping| *stopping).await;
    };
    let served = axum::serve(listener, router)
        .with_graceful_shutdown(stopped)
        .await;
    if let Err(error) = served {
        tracing::warn!(%error, "metrics are no longer served");
    }
}
