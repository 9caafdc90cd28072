//! Templates for the objects that a message names.

use epicenter_model::{Entity, Event};
use regex::Captures;

use crate::source::EntitySource;

/// Names that a template can use besides the captures: those of the object that the Event is about.
pub(crate) const OBJECT_FIELDS: [&str; 2] = ["namespace", "name"];

/// An object named in a message: a kind and templates for its namespace and name.
#[derive(Debug)]
pub(crate) struct EntityTemplate {
    kind: String,
    namespace: Template,
    name: Template,
}

impl EntityTemplate {
    /// Reads a template whose placeholders are among `captures` and [`OBJECT_FIELDS`].
    pub fn parse(source: &EntitySource, captures: &[&str]) -> Result<Self, String> {
        Ok(Self {
            kind: source.kind.clone(),
            namespace: Template::parse(&source.namespace, captures)?,
            name: Template::parse(&source.name, captures)?,
        })
    }

    /// Adds what the message names; nothing if a capture took no part in the match.
    pub fn expand(&self, event: &Event, captures: Option<&Captures<'_>>, entities: &mut Vec<Entity>) {
        let (Some(namespace), Some(name)) = (self.namespace.render(event, captures), self.name.render(event, captures))
        else {
            return;
        };
        let names = if self.name.each { name.split(", ").collect() } else { vec![name.as_str()] };
        for name in names {
            add(entities, &self.kind, &namespace, name);
        }
    }
}

/// Adds an entity unless it is nameless or known already.
pub(crate) fn add(entities: &mut Vec<Entity>, kind: &str, namespace: &str, name: &str) {
    let entity = Entity { kind: kind.to_owned(), namespace: namespace.to_owned(), name: name.to_owned() };
    if !name.is_empty() && !entities.contains(&entity) {
        entities.push(entity);
    }
}

/// Text with placeholders: `{capture}`, `{capture|registry}` (the registry's host of an image), `{capture|each}` (a
/// comma-separated list, one object each).
#[derive(Debug)]
struct Template {
    parts: Vec<Part>,
    each: bool,
}

#[derive(Debug)]
enum Part {
    Text(String),
    Namespace,
    Name,
    Capture(String),
    Registry(String),
}

impl Template {
    fn parse(source: &str, captures: &[&str]) -> Result<Self, String> {
        let mut template = Self { parts: Vec::new(), each: false };
        let mut rest = source;
        while let Some((text, after)) = rest.split_once('{') {
            let (placeholder, after) = after.split_once('}').ok_or_else(|| format!("`{source}`: a `}}` is missing"))?;
            if !text.is_empty() {
                template.parts.push(Part::Text(text.to_owned()));
            }
            let (name, filter) = placeholder.split_once('|').unwrap_or((placeholder, ""));
            if !OBJECT_FIELDS.contains(&name) && !captures.contains(&name) {
                return Err(format!("`{{{name}}}` is neither a capture of `message` nor one of {OBJECT_FIELDS:?}"));
            }
            template.parts.push(match (name, filter) {
                ("namespace", "") => Part::Namespace,
                ("name", "") => Part::Name,
                (name, "") => Part::Capture(name.to_owned()),
                (name, "registry") => Part::Registry(name.to_owned()),
                (name, "each") => {
                    template.each = true;
                    Part::Capture(name.to_owned())
                }
                (_, filter) => return Err(format!("`{filter}` is not a filter: use `registry` or `each`")),
            });
            rest = after;
        }
        if !rest.is_empty() {
            template.parts.push(Part::Text(rest.to_owned()));
        }
        Ok(template)
    }

    fn render(&self, event: &Event, captures: Option<&Captures<'_>>) -> Option<String> {
        let capture = |name: &str| Some(captures?.name(name)?.as_str());
        let mut text = String::new();
        for part in &self.parts {
            text.push_str(match part {
                Part::Text(literal) => literal,
                Part::Namespace => &event.regarding.namespace,
                Part::Name => &event.regarding.name,
                Part::Capture(name) => capture(name)?,
                Part::Registry(name) => registry(capture(name)?),
            });
        }
        Some(text)
    }
}

/// The host that an image comes from, with its port (distribution/reference `normalize.go`: a first part without `.` or
/// `:` that is not `localhost` is a path on docker.io).
fn registry(image: &str) -> &str {
    match image.split_once('/') {
        Some((host, _)) if host.contains(['.', ':']) || host == "localhost" => match host {
            "index.docker.io" | "registry-1.docker.io" => "docker.io",
            host => host,
        },
        _ => "docker.io",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_registry_of_an_image() {
        for (image, host) in [
            ("nginx", "docker.io"),
            ("nginx:1.27", "docker.io"),
            ("library/nginx@sha256:abc", "docker.io"),
            ("index.docker.io/library/nginx", "docker.io"),
            ("registry.k8s.io/pause:3.10", "registry.k8s.io"),
            ("localhost:5000/a", "localhost:5000"),
            ("localhost/a", "localhost"),
            ("10.0.0.1:5000/a/b:c", "10.0.0.1:5000"),
            ("", "docker.io"),
        ] {
            assert_eq!(registry(image), host, "{image}");
        }
    }
}
