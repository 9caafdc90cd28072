//! Installs the custom resource definition.

use std::time::Duration;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, Patch, PatchParams};
use kube::{Client, CustomResourceExt};

use crate::api::{ApiFault, INSTALL, call};
use crate::crd::IncidentObject;
use crate::writer::FIELD_MANAGER;

/// How long the API server may take to serve a new resource; it takes some milliseconds.
const ESTABLISHED: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(100);

/// Why the custom resource definition is not there.
#[derive(Debug, thiserror::Error)]
pub enum InstallError {
    /// Not allowed. Not retryable.
    #[error("{why}. It needs a cluster administrator once; let one {INSTALL}")]
    Forbidden {
        /// What the API server says.
        why: String,
    },
    /// It did not work; retryable.
    #[error("the custom resource definition cannot be installed: {why}")]
    Failed {
        /// What the API server says.
        why: String,
    },
    /// Applied, and not served in time; retryable.
    #[error("the API server does not serve {name} after {} s: {why}", ESTABLISHED.as_secs())]
    NotEstablished {
        /// Its name.
        name: String,
        /// The conditions that it has.
        why: String,
    },
}

/// Applies the definition of `Incident` and waits until the API server serves it, half a minute at most.
pub async fn install_crd(client: &Client) -> Result<(), InstallError> {
    let crds: Api<CustomResourceDefinition> = Api::all(client.clone());
    let crd = IncidentObject::crd();
    let name = IncidentObject::crd_name();
    let params = PatchParams::apply(FIELD_MANAGER).force();
    call("apply the custom resource definition", crds.patch(name, &params, &Patch::Apply(&crd)))
        .await
        .map_err(failed)?;
    let deadline = tokio::time::Instant::now() + ESTABLISHED;
    loop {
        let crd = call("get the custom resource definition", crds.get(name)).await.map_err(failed)?;
        let conditions = crd.status.and_then(|status| status.conditions).unwrap_or_default();
        if conditions.iter().any(|condition| condition.type_ == "Established" && condition.status == "True") {
            return Ok(());
        }
        if tokio::time::Instant::now() >= deadline {
            let show = |c: &k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinitionCondition| {
                format!("{}={} {}", c.type_, c.status, c.message.as_deref().unwrap_or_default())
            };
            let why = conditions.iter().map(show).collect::<Vec<_>>().join("; ");
            return Err(InstallError::NotEstablished { name: name.to_owned(), why });
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn failed(fault: ApiFault) -> InstallError {
    match fault {
        ApiFault::Forbidden(why) => InstallError::Forbidden { why },
        ApiFault::Refused(why) => InstallError::Failed { why },
        ApiFault::Blocked(blocked) => InstallError::Failed { why: blocked.why },
        other => InstallError::Failed { why: format!("{other:?}") },
    }
}
