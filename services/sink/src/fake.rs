//! An API server for tests, without a network: incidents with their guard, Events, and faults on request.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::crd::GUARD_MESSAGE;

/// An API server and what it holds. Cheap to clone.
#[derive(Clone, Default)]
pub(crate) struct Fake(Arc<Mutex<World>>);

#[derive(Default)]
pub(crate) struct World {
    /// Incident objects by name.
    pub objects: BTreeMap<String, Value>,
    /// Events by namespace and name.
    pub events: BTreeMap<String, Value>,
    /// Requests that wrote something: method and path behind the group.
    pub writes: Vec<String>,
    /// The requests that fail: the next one whose method and path end so, with that status code and message.
    pub faults: VecDeque<(&'static str, u16, &'static str)>,
    /// The custom resource definition, when it was applied.
    pub crd: Option<Value>,
}

const INCIDENTS: &str = "/apis/epicenter.dev/v1alpha1/incidents";
const CRDS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/";
const EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/";

impl Fake {
    pub(crate) fn client(&self) -> kube::Client {
        let router = Router::new().fallback(answer).with_state(self.clone());
        kube::Client::new(router, "default")
    }

    pub(crate) fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap()
    }

    /// What the status of an object says of `field`.
    pub(crate) fn status(&self, name: &str, field: &str) -> Value {
        self.world().objects[name]["status"][field].clone()
    }

    pub(crate) fn fail(&self, request: &'static str, code: u16, message: &'static str) {
        self.world().faults.push_back((request, code, message));
    }
}

async fn answer(State(fake): State<Fake>, request: Request) -> Response {
    let (method, path) = (request.method().to_string(), request.uri().path().to_owned());
    let query = request.uri().query().unwrap_or_default().to_owned();
    let body = to_bytes(request.into_body(), 1 << 20).await.unwrap();
    let (code, value) = fake.world().answer(&method, &path, &query, &body);
    (StatusCode::from_u16(code).unwrap(), value.to_string()).into_response()
}

impl World {
    fn answer(&mut self, method: &str, path: &str, query: &str, body: &Bytes) -> (u16, Value) {
        let line = format!("{method} {path}");
        if let Some(index) = self.faults.iter().position(|(request, ..)| line.ends_with(request)) {
            let (_, code, message) = self.faults.remove(index).unwrap();
            return failure(code, message);
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        if method != "GET" {
            self.writes.push(format!("{method} {}", path.rsplit("/apis/").next().unwrap()));
        }
        let parts: Vec<&str> = path.strip_prefix(INCIDENTS).unwrap_or("!").split('/').skip(1).collect();
        match (method, &parts[..]) {
            ("PATCH", _) if path.starts_with(CRDS) => {
                let established = json!([{"type": "Established", "status": "True", "reason": "r", "message": "m",
                    "lastTransitionTime": null}]);
                let mut crd = body;
                crd["status"] = json!({"conditions": established});
                self.crd = Some(crd.clone());
                (200, crd)
            }
            ("GET", _) if path.starts_with(CRDS) => self.crd.clone().map_or_else(not_found, |crd| (200, crd)),
            ("POST", _) if path.starts_with(EVENTS) => {
                let name = body["metadata"]["name"].as_str().unwrap().to_owned();
                if self.events.contains_key(&name) {
                    return failure(409, "exists");
                }
                self.events.insert(name, body.clone());
                (201, body)
            }
            ("GET", []) if path == INCIDENTS => self.list(query),
            ("GET", [name]) => self.objects.get(*name).map_or_else(not_found, |object| (200, object.clone())),
            ("DELETE", [name]) => self.objects.remove(*name).map_or_else(not_found, |object| (200, object)),
            ("PATCH", [name]) => {
                let object = self.objects.entry((*name).to_owned()).or_insert_with(|| json!({}));
                for part in ["apiVersion", "kind", "metadata", "spec"] {
                    object[part] = body[part].clone();
                }
                (200, object.clone())
            }
            ("PATCH", [name, "status"]) => match self.objects.get_mut(*name) {
                None => not_found(),
                Some(object) => {
                    let position = |status: &Value| (status["logEpoch"].as_i64(), status["version"].as_i64());
                    if position(&body["status"]) < position(&object["status"]) {
                        return failure(422, &format!("Incident is invalid: status: Invalid value: {GUARD_MESSAGE}"));
                    }
                    object["status"] = body["status"].clone();
                    (200, object.clone())
                }
            },
            _ => not_found(),
        }
    }

    fn list(&self, query: &str) -> (u16, Value) {
        let parameter = |name: &str| {
            query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('=')).and_then(|v| v.parse().ok())
        };
        let (limit, from) = (parameter("limit").unwrap_or(usize::MAX), parameter("continue").unwrap_or(0));
        let items: Vec<_> = self.objects.values().skip(from).take(limit).collect();
        let next =
            if from + items.len() < self.objects.len() { (from + items.len()).to_string() } else { String::new() };
        let metadata = json!({"resourceVersion": "1", "continue": next});
        (
            200,
            json!({"apiVersion": "epicenter.dev/v1alpha1", "kind": "IncidentList", "metadata": metadata, "items": items}),
        )
    }
}

fn failure(code: u16, message: &str) -> (u16, Value) {
    let reason = match code {
        404 => "NotFound",
        409 => "AlreadyExists",
        _ => "Failed",
    };
    (
        code,
        json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message, "reason": reason}),
    )
}

fn not_found() -> (u16, Value) {
    failure(404, "the server could not find the requested resource")
}
