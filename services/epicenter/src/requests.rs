//! Counts what a client asks of the API server.

use std::pin::Pin;
use std::task::{Context, Poll};

use epicenter_runtime::Metrics;
use epicenter_runtime::metric::API_REQUESTS;
use kube::client::Body;
use tower::Service;

type Request = axum::http::Request<Body>;

/// A client's service of which each answer is counted, by method and status.
pub struct CountedRequests<S> {
    inner: S,
    cluster: String,
    metrics: Metrics,
}

impl<S> CountedRequests<S> {
    /// Counts the answers to `inner` under the cluster's name.
    pub fn new(inner: S, cluster: &str, metrics: &Metrics) -> Self {
        Self { inner, cluster: cluster.to_owned(), metrics: metrics.clone() }
    }
}

impl<S, B> Service<Request> for CountedRequests<S>
where
    S: Service<Request, Response = axum::http::Response<B>, Future: Send + 'static>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request) -> Self::Future {
        let verb = request.method().as_str().to_ascii_lowercase();
        let (cluster, metrics) = (self.cluster.clone(), self.metrics.clone());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            let code = answer.as_ref().map_or("none".into(), |answer| answer.status().as_u16().to_string());
            metrics.add(&API_REQUESTS, &[&cluster, &verb, &code], 1.0);
            answer
        })
    }
}
