//! Plots and the README's table from the results of the city bench, as files of JSON.

use std::collections::BTreeMap;
use std::error::Error;
use std::ops::Range;
use std::path::Path;

use plotters::prelude::*;
use serde_json::Value;

use crate::table::shown;

/// The marks in the README between which the table is.
pub const BEGIN: &str = "<!-- city: made by `report` -->";
/// See [`BEGIN`].
pub const END: &str = "<!-- city: end -->";

const OURS: &str = "headcount";
const RIVAL: &str = "Redis";
/// The plots: file, title, unit, and the metrics of which each is a line.
const PLOTS: [(&str, &str, &str, &[&str]); 2] = [
    (
        "city-time.svg",
        "A status change, from presence to 1,000 viewers",
        "us a change",
        &[
            "ticks of 1000: all but replicate",
            "ticks of 100: all but replicate",
        ],
    ),
    (
        "city-memory.svg",
        "Memory of the member list",
        "B a member",
        &["list"],
    ),
];

/// One run of the bench: the medians of each metric by structure.
#[derive(Debug)]
pub struct City {
    /// The title of the run, which begins with the number of members.
    title: String,
    members: u64,
    lines: Vec<Line>,
}

#[derive(Debug)]
struct Line {
    metric: String,
    unit: String,
    medians: BTreeMap<String, f64>,
}

/// Reads all results in a directory, the smallest city first.
///
/// # Errors
/// If a file cannot be read, or is none of the city bench.
pub fn read_all(directory: &Path) -> Result<Vec<City>, Box<dyn Error>> {
    let mut cities = Vec::new();
    for file in std::fs::read_dir(directory)? {
        let path = file?.path();
        if path.extension().is_some_and(|ending| ending == "json") {
            let read = read(&std::fs::read_to_string(&path)?);
            cities.push(read.ok_or_else(|| format!("{}: no result of the city", path.display()))?);
        }
    }
    cities.sort_by_key(|city| city.members);
    Ok(cities)
}

fn read(text: &str) -> Option<City> {
    let tables: Value = serde_json::from_str(text).ok()?;
    let table = tables.as_array()?.first()?;
    let title = table["title"].as_str()?.to_owned();
    let members = title.split(' ').next()?.parse().ok()?;
    let lines = table["lines"].as_array()?.iter().map(|line| {
        let figures = line["figures"].as_object()?.iter();
        let medians = figures.map(|(who, of)| Some((who.clone(), of["median"].as_f64()?)));
        Some(Line {
            metric: line["metric"].as_str()?.to_owned(),
            unit: line["unit"].as_str()?.to_owned(),
            medians: medians.collect::<Option<_>>()?,
        })
    });
    let lines = lines.collect::<Option<_>>()?;
    Some(City {
        title,
        members,
        lines,
    })
}

impl City {
    fn figure(&self, metric: &str, who: &str) -> Option<f64> {
        let line = self.lines.iter().find(|line| line.metric == metric)?;
        line.medians.get(who).copied()
    }
}

/// Returns the README's table of a run.
#[must_use]
pub fn markdown(city: &City) -> String {
    let mut rows = vec![
        format!("| {} | {OURS} | {RIVAL} |", city.title),
        "|---|---|---|".to_owned(),
    ];
    for line in &city.lines {
        let Some(&ours) = line.medians.get(OURS) else {
            continue;
        };
        let rival = line.medians.get(RIVAL);
        let rival = rival.map_or(String::new(), |rival| {
            format!("{} ({:.1})", shown(*rival), rival / ours)
        });
        let metric = &line.metric;
        let unit = &line.unit;
        rows.push(format!("| {metric} | {} {unit} | {rival} |", shown(ours)));
    }
    rows.join("\n")
}

/// Returns the text with the table between the marks replaced, or `None` if it has no marks.
#[must_use]
pub fn insert(readme: &str, table: &str) -> Option<String> {
    let begin = readme.find(BEGIN)? + BEGIN.len();
    let end = begin + readme[begin..].find(END)?;
    Some(format!("{}\n{table}\n{}", &readme[..begin], &readme[end..]))
}

/// Draws the plots into a directory.
///
/// # Errors
/// If a file cannot be written.
pub fn plot_all(cities: &[City], directory: &Path) -> Result<(), Box<dyn Error>> {
    for (file, title, unit, metrics) in PLOTS {
        let mut series = Vec::new();
        for metric in metrics {
            for who in [OURS, RIVAL] {
                let points: Vec<(f64, f64)> = cities
                    .iter()
                    .filter_map(|city| Some((city.members as f64, city.figure(metric, who)?)))
                    .collect();
                let name = metric.split(": ").next().unwrap_or(metric);
                series.push((format!("{who}, {name}"), points));
            }
        }
        series.retain(|(_, points)| !points.is_empty());
        plot(&directory.join(file), title, unit, &series)?;
    }
    Ok(())
}

fn plot(
    path: &Path,
    title: &str,
    unit: &str,
    series: &[(String, Vec<(f64, f64)>)],
) -> Result<(), Box<dyn Error>> {
    let points = || series.iter().flat_map(|(_, points)| points);
    let x = around(points().map(|point| point.0));
    let y = around(points().map(|point| point.1));
    let root = SVGBackend::new(path, (800, 480)).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(title, ("sans-serif", 20))
        .margin(16)
        .margin_right(48)
        .x_label_area_size(44)
        .y_label_area_size(64)
        .build_cartesian_2d(x.log_scale(), y.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("members")
        .y_desc(unit)
        .x_label_formatter(&|members| format!("{members:.0}"))
        .y_label_formatter(&|figure| shown(*figure))
        .draw()?;
    for (at, (name, points)) in series.iter().enumerate() {
        let color = Palette99::pick(at);
        let dots = points
            .iter()
            .map(|&point| Circle::new(point, 3, color.filled()));
        chart.draw_series(dots)?;
        chart
            .draw_series(LineSeries::new(
                points.iter().copied(),
                color.stroke_width(2),
            ))?
            .label(name)
            .legend(move |(x, y)| {
                PathElement::new([(x, y), (x + 16, y)], Palette99::pick(at).stroke_width(2))
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK)
        .draw()?;
    root.present()?;
    Ok(())
}

/// Returns the powers of ten around some figures.
fn around(figures: impl Iterator<Item = f64>) -> Range<f64> {
    let (low, high) = figures.fold((f64::MAX, 0.0_f64), |(low, high), figure| {
        (low.min(figure), high.max(figure))
    });
    10_f64.powf(low.max(1e-9).log10().floor())..10_f64.powf(high.max(1e-9).log10().ceil())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::table::Table;

    fn city() -> City {
        let mut table = Table::new("1000 members, 100 online, 1000 viewers".into());
        table.note("list", "B a member", OURS, 50.0);
        table.note("list", "B a member", RIVAL, 125.0);
        table.note("roster", "B a user", OURS, 99.5);
        read(&format!("[{}]", table.json())).expect("a result")
    }

    #[test]
    fn a_result_becomes_a_table_between_the_marks() {
        let table = markdown(&city());
        assert!(
            table.contains("| list | 50.0 B a member | 125 (2.5) |"),
            "{table}"
        );
        assert!(table.contains("| roster | 99.5 B a user |  |"), "{table}");
        let readme = format!("before\n{BEGIN}\nold\n{END}\nafter\n");
        let once = insert(&readme, &table).expect("it has marks");
        assert!(
            once.starts_with("before\n") && once.ends_with("\nafter\n") && !once.contains("old")
        );
        assert_eq!(insert(&once, &table).as_deref(), Some(once.as_str()));
        assert_eq!(insert("no marks", &table), None);
    }

    #[test]
    fn the_readme_has_the_table_of_the_largest_committed_run() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cities = read_all(&root.join("results")).expect("committed results");
        let readme = std::fs::read_to_string(root.join("../README.md")).expect("the README");
        let largest = cities.last().expect("at least one run");
        assert_eq!(insert(&readme, &markdown(largest)), Some(readme));
    }
}
