//! What there is, as it is listed: each causal rule and each class, with where it is from.

use serde::Serialize;

use crate::class::ClassInfo;
use crate::source::RuleFile;

/// A rule or a class.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Listed {
    /// The section of a file of rules in which it stands.
    pub section: &'static str,
    /// Its id or name; of what has neither, the classes that it is about.
    pub name: String,
    /// Its file; `built-in` for what comes with this version.
    pub from: String,
    /// What it says, in one line.
    pub says: String,
}

impl Listed {
    /// A class of the file `from`.
    pub fn class(info: &ClassInfo, from: &str) -> Self {
        let ClassInfo { class, category, severity, role, title, .. } = info;
        let says = format!("{category}, {severity}, {role}: {title}");
        Self { section: "classes", name: class.clone(), from: from.to_owned(), says }
    }
}

/// What the file `from` has, in its order.
pub(crate) fn of_file(from: &str, source: &RuleFile) -> Vec<Listed> {
    let mut found = Vec::new();
    let mut list = |section, name: String, says: String| {
        found.push(Listed { section, name, from: from.to_owned(), says });
    };
    for rule in &source.rules {
        let (causes, effects) = (rule.cause.join(", "), rule.effect.join(", "));
        let says =
            format!("{causes} → {effects} ({} to {} s, {}): {}", rule.lag_s.0, rule.lag_s.1, rule.weight, rule.why);
        list("rules", rule.id.clone(), says);
    }
    for rule in &source.common {
        let says = format!(
            "{} of {} workloads within {} s: {}",
            rule.classes.join(", "),
            rule.owners,
            rule.within_s,
            rule.why
        );
        list("common", rule.id.clone(), says);
    }
    for rule in &source.quiet {
        let severity = rule.severity.map_or("no incident".to_owned(), |severity| format!("{severity} at most"));
        let (classes, after) = (rule.classes.join(", "), rule.after.join(", "));
        list("quiet", rule.id.clone(), format!("{classes} within {} s after {after}: {severity}", rule.within_s));
    }
    for rule in &source.roots {
        let says = format!("a root with {}, a cause of its own with {}", rule.prior, rule.own);
        list("roots", rule.classes.join(", "), says);
    }
    for class in &source.gone {
        list("gone", class.clone(), "its object is on its way out".to_owned());
    }
    for class in &source.despite_deletion {
        list("despite_deletion", class.clone(), "counts though its pod is being deleted".to_owned());
    }
    for class in &source.harm {
        list("harm", class.clone(), "does not heal".to_owned());
    }
    for rule in &source.serves {
        let place = if rule.daemon { " of its node" } else { "" };
        list("serves", rule.workload.clone(), format!("serves {} {}{place}", rule.kind, rule.name));
    }
    for rule in &source.needs {
        list("needs", rule.workload.clone(), format!("needs {} {}", rule.kind, rule.name));
    }
    for rule in &source.patterns {
        list("patterns", rule.id.name().to_owned(), rule.says());
    }
    for rule in &source.implies {
        list("implies", rule.class.clone(), format!("is about {} {}", rule.kind, rule.name));
    }
    found
}
