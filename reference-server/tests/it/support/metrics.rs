//! The answer of a server at `/metrics`.

use std::collections::BTreeMap;

use super::client::Server;

/// The values by name and labels.
#[derive(Debug, Clone)]
pub(crate) struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    pub(crate) async fn of(server: &Server) -> Self {
        let url = format!("http://{}/metrics", server.admin);
        let text = super::http::get(url).await.unwrap().text().await.unwrap();
        Self::parse(&text)
    }

    /// Parses the text, each name of which must be described.
    fn parse(text: &str) -> Self {
        let mut values = BTreeMap::new();
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let Some((name, value)) = line.rsplit_once(' ') else {
                continue;
            };
            let bare = name.split('{').next().unwrap();
            let base = ["_bucket", "_sum", "_count"]
                .iter()
                .find_map(|end| bare.strip_suffix(end))
                .unwrap_or(bare);
            assert!(bare.starts_with("headcount_"), "{line}");
            let is_described = [bare, base]
                .iter()
                .any(|name| text.contains(&format!("# HELP {name} ")));
            assert!(is_described, "{line}");
            values.insert(name.to_owned(), value.parse().unwrap());
        }
        Self(values)
    }

    /// Returns the value of that name and labels; 0 if there is none.
    pub(crate) fn get(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or_default()
    }

    /// Returns the sum of a value over its labels; of a histogram the number of its times.
    pub(crate) fn sum(&self, family: &str) -> f64 {
        let count = format!("{family}_count");
        let is_of = |name: &str| {
            let bare = name.split('{').next().unwrap();
            bare == family || bare == count
        };
        let values = self.0.iter().filter(|(name, _)| is_of(name));
        values.map(|(_, value)| value).sum()
    }

    /// Returns the names without labels and without the endings of histograms.
    pub(crate) fn families(&self) -> Vec<&str> {
        let bare = self.0.keys().map(|name| name.split('{').next().unwrap());
        let mut families: Vec<_> = bare
            .filter(|name| !name.ends_with("_bucket") && !name.ends_with("_sum"))
            .map(|name| name.strip_suffix("_count").unwrap_or(name))
            .collect();
        families.sort_unstable();
        families.dedup();
        families
    }

    /// Returns the values that changed since `before`, without those of times, whose amounts no test knows.
    pub(crate) fn since(&self, before: &Self) -> BTreeMap<&str, f64> {
        let is_count =
            |name: &str| !name.contains("_seconds_sum") && !name.contains("_seconds_bucket");
        let changes = self
            .0
            .iter()
            .map(|(name, value)| (name.as_str(), value - before.get(name)));
        changes
            .filter(|(name, change)| is_count(name) && *change != 0.0)
            .collect()
    }
}
