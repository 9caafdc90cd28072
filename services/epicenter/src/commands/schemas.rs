//! `epicenter schemas`.

use std::process::ExitCode;

use anyhow::ensure;
use epicenter_model::RecordType;
use epicenter_runtime::{RegistryClient, RegistryError, subject};

use super::print;
use crate::cli::Schemas;
use crate::settings::Settings;

pub(super) fn run(what: Schemas, settings: &Settings) -> anyhow::Result<ExitCode> {
    let wrong = match what {
        Schemas::List => {
            for (record, subject) in subjects(settings) {
                print(&format!("{:<16} {subject}\n", record.name()))?;
            }
            0
        }
        Schemas::Register => register(settings)?,
        Schemas::Check => {
            let problems = problems(settings)?;
            problems.iter().try_for_each(|problem| print(&format!("{problem}\n")))?;
            if problems.is_empty() {
                print("the registry has the schemas of this version\n")?;
            }
            problems.len()
        }
    };
    Ok(ExitCode::from(u8::from(wrong > 0)))
}

/// Registers all; gives how many could not be.
fn register(settings: &Settings) -> anyhow::Result<usize> {
    let client = client(settings)?;
    let mut refused = 0;
    for (record, subject) in subjects(settings) {
        // Before the schema, where that can be: then the registry itself refuses what does not fit.
        let protected = protect(&client, &subject)?;
        match client.register(&subject, record.schema_text())? {
            Ok(id) => print(&format!("{subject}: id {id}\n"))?,
            Err(why) => {
                refused += 1;
                print(&format!("{subject}: refused: {why}\n"))?;
                continue;
            }
        }
        if !protected && !protect(&client, &subject)? {
            print(&format!("{subject}: the registry does not let its compatibility be set to FULL_TRANSITIVE\n"))?;
        }
    }
    Ok(refused)
}

/// Sets the compatibility. Some registries leave that to administrators: then it is theirs.
fn protect(client: &RegistryClient, subject: &str) -> Result<bool, RegistryError> {
    match client.protect(subject) {
        Err(RegistryError::Refused { status: 403 | 405 | 422 | 501, .. }) => Ok(false),
        other => other,
    }
}

/// What is not as the services of this version need it.
pub(super) fn problems(settings: &Settings) -> anyhow::Result<Vec<String>> {
    let client = client(settings)?;
    let mut problems = Vec::new();
    for (record, subject) in subjects(settings) {
        if client.id(&subject, record.schema_text())?.is_none() {
            problems.push(match client.fits(&subject, record.schema_text())? {
                None | Some(Ok(())) => {
                    format!("{subject} has no schema of this version: register it with `epicenter schemas register`")
                }
                Some(Err(why)) => format!(
                    "{subject} has schemas that this version's cannot stand beside: {why}; is it another program's? Give \
                     the topics another prefix (bus.kafka.prefix), or delete the subject"
                ),
            });
        } else if let Some(level) = client.unprotected(&subject)? {
            problems.push(format!(
                "{subject} is held to {level}, and needs FULL_TRANSITIVE, so that services can be upgraded in any order: \
                 `epicenter schemas register` sets it, where the registry allows it"
            ));
        }
    }
    Ok(problems)
}

fn subjects(settings: &Settings) -> impl Iterator<Item = (RecordType, String)> {
    RecordType::ALL.iter().map(|record| (*record, subject(*record, &settings.bus.kafka.prefix)))
}

fn client(settings: &Settings) -> anyhow::Result<RegistryClient> {
    ensure!(settings.registry.is_set(), "there is no schema registry: set registry.url (EPICENTER_REGISTRY__URL)");
    Ok(RegistryClient::new(&settings.registry)?)
}
