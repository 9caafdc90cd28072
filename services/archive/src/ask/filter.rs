//! What is asked for, of Events and of incidents alike, and the condition on rows that it comes to.

use epicenter_model::{Category, IncidentChange, Severity, Timestamp};
use epicenter_runtime::{Access, Names};
use jiff::tz::TimeZone;

use crate::ask::Malformed;
use crate::{Entry as _, Kind};

/// How far back one looks who does not say.
const SPAN: &str = "7d";
/// Values that one list has at most.
const MOST: usize = 1000;
/// Characters of a whole incident's id.
const WHOLE_ID: usize = 14;

/// What rows must be. Of each list one value has to fit; an empty one asks nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    /// Log time, from then on.
    pub from: Timestamp,
    /// Log time, before then.
    pub to: Option<Timestamp>,
    /// Clusters.
    pub cluster: Vec<String>,
    /// Namespaces of the object.
    pub namespace: Vec<String>,
    /// Kinds of the object.
    pub kind: Vec<String>,
    /// Names of the object.
    pub name: Vec<String>,
    /// Reasons; only Events have them.
    pub reason: Vec<String>,
    /// Categories.
    pub category: Vec<Category>,
    /// Severities.
    pub severity: Vec<Severity>,
    /// Classes.
    pub class: Vec<String>,
    /// Incidents, by the beginning of their id: those, or the Events in them.
    pub incident: Vec<String>,
    /// A text in the message or in the title, in upper or lower case.
    pub text: Option<String>,
    /// For whom: of nothing else there is an answer.
    pub access: Access,
}

impl Filter {
    /// The last seven days, of everything.
    pub fn new(now: Timestamp) -> Self {
        let list = Vec::new;
        Self {
            from: when(SPAN, now).unwrap_or(now),
            to: None,
            cluster: list(),
            namespace: list(),
            kind: list(),
            name: list(),
            reason: list(),
            category: Vec::new(),
            severity: Vec::new(),
            class: list(),
            incident: list(),
            text: None,
            access: Access::whole(),
        }
    }

    /// The names that [`Filter::set`] takes.
    pub const KEYS: [&str; 12] = [
        "from",
        "to",
        "cluster",
        "namespace",
        "kind",
        "name",
        "reason",
        "category",
        "severity",
        "class",
        "incident",
        "text",
    ];

    /// Takes what is asked for as text; a list is parted by commas, and grows when it is named again. `false` when `key` is
    /// none of its own.
    ///
    /// # Errors
    /// When the value is none.
    pub fn set(&mut self, key: &str, value: &str, now: Timestamp) -> Result<bool, Malformed> {
        let words = || value.split(',').map(str::to_owned).filter(|word| !word.is_empty());
        match key {
            "from" => self.from = when(value, now)?,
            "to" => self.to = Some(when(value, now)?),
            "cluster" => self.cluster.extend(words()),
            "namespace" => self.namespace.extend(words()),
            "kind" => self.kind.extend(words()),
            "name" => self.name.extend(words()),
            "reason" => self.reason.extend(words()),
            "category" => self.category.extend(named(key, value, Category::ALL, Category::name)?),
            "severity" => self.severity.extend(named(key, value, Severity::ALL, Severity::name)?),
            "class" => self.class.extend(words()),
            "incident" => self.incident.extend(words()),
            "text" => self.text = Some(value.to_owned()).filter(|text| !text.is_empty()),
            _ => return Ok(false),
        }
        let lists = [&self.cluster, &self.namespace, &self.kind, &self.name, &self.reason, &self.class, &self.incident];
        if lists.iter().any(|list| list.len() > MOST) {
            return Err(Malformed::new(key, value, format!("has more than {MOST} values")));
        }
        Ok(true)
    }

    /// The condition on the rows of a table, in SQL; every value in it is quoted. Of incidents it says nothing.
    pub(super) fn condition(&self, kind: Kind) -> String {
        let mut all = self.when();
        all.extend(self.which(kind));
        all.join(" AND ")
    }

    /// The condition on time and cluster, which says what files are read.
    pub(super) fn when(&self) -> Vec<String> {
        [between(self.from, self.to), self.clusters()].concat()
    }

    /// The conditions on the cluster.
    pub(super) fn clusters(&self) -> Vec<String> {
        let asked = one_of("cluster", self.cluster.iter().map(String::as_str));
        asked.into_iter().chain(names("cluster", &self.access.clusters)).collect()
    }

    /// The condition on the incident of a change; `None` when none is asked for.
    pub(super) fn incidents(&self) -> Option<String> {
        let each = self.incident.iter().map(|id| match is_whole(id) {
            true => is_incident(id),
            false => format!("starts_with(incident, {})", quoted(id)),
        });
        (!self.incident.is_empty()).then(|| format!("({})", each.collect::<Vec<_>>().join(" OR ")))
    }

    /// One incident is asked for, by its whole id.
    pub(super) fn is_of_one_incident(&self) -> bool {
        matches!(&self.incident[..], [id] if is_whole(id))
    }

    /// The conditions on the rest.
    pub(super) fn which(&self, kind: Kind) -> Vec<String> {
        let words = |column, values: &[String]| one_of(column, values.iter().map(String::as_str));
        let mut all: Vec<String> = [
            words("namespace", &self.namespace),
            words("kind", &self.kind),
            words("name", &self.name),
            words("reason", &self.reason),
            one_of("category", self.category.iter().map(|category| category.name())),
            one_of("severity", self.severity.iter().map(|severity| severity.name())),
            words("class", &self.class),
        ]
        .into_iter()
        .flatten()
        .collect();
        if let Some(own) = names("namespace", &self.access.namespaces) {
            // Which namespaces an incident touches only the record says.
            let touched = (kind == IncidentChange::KIND).then(|| touches(&self.access.namespaces));
            all.push(touched.map_or_else(|| own.clone(), |touched| format!("({own} OR {touched})")));
        }
        all.extend(
            self.text.as_ref().map(|text| format!("contains(lower({}), {})", kind.text, quoted(&text.to_lowercase()))),
        );
        all
    }
}

fn named<T: Copy>(key: &str, value: &str, all: &[T], name: fn(T) -> &'static str) -> Result<Vec<T>, Malformed> {
    let find = |word: &str| {
        all.iter().copied().find(|one| name(*one) == word).ok_or_else(|| {
            let names: Vec<_> = all.iter().map(|one| name(*one)).collect();
            Malformed::new(key, word, format!("is none of {}", names.join(", ")))
        })
    };
    value.split(',').filter(|word| !word.is_empty()).map(find).collect()
}

fn is_whole(id: &str) -> bool {
    id.len() == WHOLE_ID
}

/// The condition that a change is one of the incident of that whole id.
pub(super) fn is_incident(id: &str) -> String {
    format!("incident = {}", quoted(id))
}

/// The condition on time, from `from` on and before `to`; the day says which folders are read.
pub(super) fn between(from: Timestamp, to: Option<Timestamp>) -> Vec<String> {
    let mut all = vec![format!("date >= {} AND time >= {}", day(from), instant(from))];
    all.extend(to.map(|to| format!("date <= {} AND time < {}", day(to), instant(to))));
    all
}

/// The condition that a column has one of these values; `None` when there are none.
pub(super) fn one_of<'v>(column: &str, values: impl IntoIterator<Item = &'v str>) -> Option<String> {
    let quoted: Vec<_> = values.into_iter().map(quoted).collect();
    (!quoted.is_empty()).then(|| format!("{column} IN ({})", quoted.join(", ")))
}

/// The condition that a column has one of these names; `None` when they are all.
fn names(column: &str, names: &Names) -> Option<String> {
    let each = names.each().map(|name| match name {
        Ok(whole) => format!("{column} = {}", quoted(whole)),
        Err(beginning) => format!("starts_with({column}, {})", quoted(beginning)),
    });
    (!names.are_all()).then(|| format!("({})", each.collect::<Vec<_>>().join(" OR ")))
}

/// The condition that an incident touches one of these namespaces, by its record. A quote within a text stands behind a backslash
/// there, so that no title passes for a list.
fn touches(names: &Names) -> String {
    let plain = |name: &str| name.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect::<String>();
    let each = names.each().map(|name| match name {
        Ok(whole) => plain(whole),
        Err(beginning) => plain(beginning) + "[a-z0-9-]*",
    });
    let pattern = format!("\"namespaces\":\\[[^\\]]*\"({})\"", each.collect::<Vec<_>>().join("|"));
    format!("regexp_like(record, {})", quoted(&pattern))
}

/// Reads a time: an instant (2026-11-20T08:00:00Z), the beginning of a day, UTC (2026-11-20), or how long ago (7d, 12h, 30m).
///
/// # Errors
/// When it is none of these.
pub fn when(text: &str, now: Timestamp) -> Result<Timestamp, Malformed> {
    if let Ok(at) = text.parse() {
        return Ok(at);
    }
    let zoned = |date: jiff::civil::Date| date.to_zoned(TimeZone::UTC).ok();
    let ago = || {
        let now = jiff::Timestamp::from_microsecond(now.as_micros()).ok()?.to_zoned(TimeZone::UTC);
        now.checked_sub(text.parse::<jiff::Span>().ok()?.abs()).ok()
    };
    let found = text.parse().ok().and_then(zoned).or_else(ago);
    let found = found.map(|at| Timestamp::from_micros(at.timestamp().as_microsecond()));
    found.ok_or_else(|| {
        Malformed::new(
            "time",
            text,
            "is no time: write 2026-11-20T08:00:00Z, 2026-11-20, or how long ago, such as 7d or 12h",
        )
    })
}

/// A text as SQL writes it: DataFusion knows no escapes but the doubled quote.
pub(super) fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// An instant of the type that the columns have, so that none of them has to be converted, and files can be skipped.
pub(super) fn instant(at: Timestamp) -> String {
    format!("arrow_cast({}, 'Timestamp(Microsecond, Some(\"UTC\"))')", at.as_micros())
}

fn day(at: Timestamp) -> String {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).unwrap_or_default();
    format!("DATE '{}'", at.to_zoned(TimeZone::UTC).date())
}

#[cfg(test)]
mod tests {
    use epicenter_model::EnrichedEvent;
    use epicenter_runtime::TokenConfig;

    use super::*;

    /// 2026-11-27T00:00:00Z.
    const NOW: Timestamp = Timestamp::from_micros(1_795_737_600_000_000);

    #[track_caller]
    fn check(asked: &[(&str, &str)], expected: &str) {
        let mut filter = Filter::new(NOW);
        for (key, value) in asked {
            assert!(filter.set(key, value, NOW).unwrap(), "{key}");
        }
        assert_eq!(filter.condition(EnrichedEvent::KIND), expected);
    }

    #[test]
    fn asks_for_what_is_wanted_and_quotes_it() {
        let week = "date >= DATE '2026-11-20' AND time >= arrow_cast(1795132800000000, 'Timestamp(Microsecond, Some(\"UTC\"))')";
        check(&[], week);
        check(
            &[
                ("cluster", "a,b'; DROP TABLE events; --"),
                ("severity", "high"),
                ("severity", "low,info"),
                ("text", "It's"),
            ],
            &format!(
                "{week} AND cluster IN ('a', 'b''; DROP TABLE events; --') AND severity IN ('high', 'low', 'info') \
                 AND contains(lower(message), 'it''s')"
            ),
        );
        check(
            &[("from", "2026-11-01"), ("to", "2026-11-02T00:00:00Z"), ("name", "")],
            "date >= DATE '2026-11-01' AND time >= arrow_cast(1793491200000000, 'Timestamp(Microsecond, Some(\"UTC\"))') \
             AND date <= DATE '2026-11-02' AND time < arrow_cast(1793577600000000, 'Timestamp(Microsecond, Some(\"UTC\"))')",
        );
    }

    #[test]
    fn asks_for_nothing_that_is_not_shown() {
        let token = TokenConfig {
            clusters: vec!["prod-*".into()],
            namespaces: vec!["shop".into(), "team'-*".into()],
            ..TokenConfig::default()
        };
        let filter = Filter { access: Access::of(&token), ..Filter::new(NOW) };
        let own = "(namespace = 'shop' OR starts_with(namespace, 'team''-'))";
        assert_eq!(filter.when()[1], "(starts_with(cluster, 'prod-'))");
        assert_eq!(filter.which(EnrichedEvent::KIND), [own]);
        let touched = r#"regexp_like(record, '"namespaces":\[[^\]]*"(shop|team-[a-z0-9-]*)"')"#;
        assert_eq!(filter.which(IncidentChange::KIND), [format!("({own} OR {touched})")]);
    }

    #[test]
    fn knows_its_keys() {
        for key in Filter::KEYS {
            let value = match key {
                "from" | "to" => "1h",
                "category" => "node",
                "severity" => "low",
                _ => "x",
            };
            let mut filter = Filter::new(NOW);
            assert!(filter.set(key, value, NOW).unwrap(), "{key}");
            assert_ne!(filter, Filter::new(NOW), "{key}");
        }
        assert!(!Filter::new(NOW).set("nonesuch", "x", NOW).unwrap());
    }

    #[test]
    fn says_what_is_wrong() {
        let wrong = |key: &str, value: &str| Filter::new(NOW).set(key, value, NOW).unwrap_err().to_string();
        assert_eq!(wrong("severity", "bad"), "severity: `bad` is none of info, low, medium, high, critical");
        assert!(wrong("from", "yesterday").starts_with("time: `yesterday` is no time: write 2026-11-20T08:00:00Z"));
        assert!(wrong("name", &"x,".repeat(1001)).ends_with("has more than 1000 values"));
    }
}
