//! Which incidents are asked for, as it stands in the address bar.

use epicenter_model::{Category, Severity};

use crate::board::Shown;

/// Incidents on a page.
pub(crate) const PAGE: usize = 100;

/// Which incidents. An empty part asks nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Filter {
    pub cluster: String,
    pub namespace: String,
    pub class: String,
    pub text: String,
    pub severity: Option<Severity>,
    pub category: Option<Category>,
    /// Those that are over, not those that are open.
    pub ended: bool,
    /// From 0.
    pub page: usize,
}

impl Filter {
    /// Reads the query of a URL.
    ///
    /// # Errors
    /// What is wrong with it, for people.
    pub fn read(query: Option<&str>) -> Result<Self, String> {
        let mut filter = Self::default();
        for (key, value) in url::form_urlencoded::parse(query.unwrap_or_default().as_bytes()) {
            let value = value.trim();
            match &*key {
                "cluster" => filter.cluster = value.to_owned(),
                "namespace" => filter.namespace = value.to_owned(),
                "class" => filter.class = value.to_owned(),
                "text" => filter.text = value.to_owned(),
                "severity" => filter.severity = named(&key, value, Severity::ALL, Severity::name)?,
                "category" => filter.category = named(&key, value, Category::ALL, Category::name)?,
                "state" => filter.ended = named(&key, value, &[false, true], state)?.unwrap_or_default(),
                "page" => {
                    filter.page =
                        value.parse::<usize>().map_err(|_| format!("page: `{value}` is no number"))?.saturating_sub(1)
                }
                _ => {}
            }
        }
        Ok(filter)
    }

    /// Whether an incident is asked for, were it of any severity.
    pub fn fits_but_severity(&self, shown: &Shown) -> bool {
        let head = &shown.head;
        (self.cluster.is_empty() || head.cluster == self.cluster)
            && (self.namespace.is_empty() || head.touches(&self.namespace))
            && match self.class.strip_suffix('*') {
                Some(beginning) => head.cause.class.starts_with(beginning),
                None => self.class.is_empty() || head.cause.class == self.class,
            }
            && self.category.is_none_or(|category| head.category == category)
            && (self.text.is_empty() || shown.words.contains(&self.text.to_lowercase()))
    }

    /// Something is asked for, beside open or over.
    pub fn asks(&self) -> bool {
        Self { ended: false, page: 0, ..self.clone() } != Self::default()
    }

    /// The address of the list.
    pub fn address(&self) -> String {
        let mut query = url::form_urlencoded::Serializer::new(String::new());
        let severity = self.severity.map(Severity::name).unwrap_or_default();
        let category = self.category.map(Category::name).unwrap_or_default();
        let page = if self.page > 0 { (self.page + 1).to_string() } else { String::new() };
        for (key, value) in [
            ("state", if self.ended { "ended" } else { "" }),
            ("severity", severity),
            ("cluster", &self.cluster),
            ("namespace", &self.namespace),
            ("category", category),
            ("class", &self.class),
            ("text", &self.text),
            ("page", &page),
        ] {
            if !value.is_empty() {
                query.append_pair(key, value);
            }
        }
        match query.finish() {
            query if query.is_empty() => "/".to_owned(),
            query => format!("/?{query}"),
        }
    }
}

fn state(ended: bool) -> &'static str {
    if ended { "ended" } else { "open" }
}

/// A value by its name; none for an empty one.
pub(crate) fn named<T: Copy>(
    key: &str,
    value: &str,
    all: &[T],
    name: fn(T) -> &'static str,
) -> Result<Option<T>, String> {
    if value.is_empty() {
        return Ok(None);
    }
    let names = || all.iter().map(|one| name(*one)).collect::<Vec<_>>().join(", ");
    let found = all.iter().copied().find(|one| name(*one) == value);
    found.map(Some).ok_or_else(|| format!("{key}: `{value}` is none of {}", names()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stands_in_the_address_bar_as_it_was_read() {
        for query in ["/", "/?severity=high&class=node.*", "/?state=ended&cluster=a%2Fb&text=%3Cb%3E&page=3"] {
            let filter = Filter::read(query.split_once('?').map(|(_, query)| query)).unwrap();
            assert_eq!(filter.address(), query);
        }
        assert_eq!(Filter::read(Some("page=0&namespace=+shop+")).unwrap().namespace, "shop");
    }

    #[test]
    fn says_what_cannot_be_asked() {
        let error = Filter::read(Some("severity=bad")).unwrap_err();
        assert_eq!(error, "severity: `bad` is none of info, low, medium, high, critical");
        assert_eq!(Filter::read(Some("page=x")).unwrap_err(), "page: `x` is no number");
    }
}
