//! The tables the benches print: medians of rounds, ratios to ours, goals met and missed.

use std::fmt::Write as _;
use std::time::Duration;

/// The goal of a figure of ours.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// At most this, in the unit of the line.
    AtMost(f64),
    /// At most this many times the figure of this rival in the same run.
    Times(f64, &'static str),
}

/// One line of a table: a metric, and the figures of each structure. Less is better.
#[derive(Debug)]
struct Line {
    metric: String,
    unit: &'static str,
    /// Structure and its figures, one for each round.
    figures: Vec<(&'static str, Vec<f64>)>,
    goals: Vec<Goal>,
}

/// A table of one workload at one size. The first structure of a line is ours.
#[derive(Debug)]
pub struct Table {
    title: String,
    lines: Vec<Line>,
}

impl Table {
    /// Makes an empty table.
    #[must_use]
    pub const fn new(title: String) -> Self {
        Self {
            title,
            lines: Vec::new(),
        }
    }

    /// Adds the time of one operation in one round.
    pub fn time(&mut self, metric: &str, who: &'static str, each: Duration) {
        self.note(metric, "ns", who, each.as_nanos() as f64);
    }

    /// Adds any figure for which less is better, in one round.
    pub fn note(&mut self, metric: &str, unit: &'static str, who: &'static str, figure: f64) {
        let line = self.line(metric, unit);
        match line.figures.iter_mut().find(|(other, _)| *other == who) {
            Some((_, figures)) => figures.push(figure),
            None => line.figures.push((who, vec![figure])),
        }
    }

    /// Sets a goal for our figure of a metric; a line may have several.
    pub fn goal(&mut self, metric: &str, goal: Goal) {
        if let Some(line) = self.lines.iter_mut().find(|line| line.metric == metric) {
            line.goals.push(goal);
        }
    }

    fn line(&mut self, metric: &str, unit: &'static str) -> &mut Line {
        let known = self.lines.iter().position(|line| line.metric == metric);
        let at = known.unwrap_or_else(|| {
            self.lines.push(Line {
                metric: metric.to_owned(),
                unit,
                figures: Vec::new(),
                goals: Vec::new(),
            });
            self.lines.len() - 1
        });
        &mut self.lines[at]
    }

    /// Prints the table; the number in brackets is a rival's figure divided by ours, so above 1 we
    /// are ahead. Under it: goals, and in how many lines each rival is behind.
    pub fn print(&self) {
        println!("\n{}", self.title);
        for line in &self.lines {
            print!("  {:<32}", line.metric);
            let ours = line.ours();
            for (at, (who, figures)) in line.figures.iter().enumerate() {
                let figure = median(figures);
                match at {
                    0 => print!("{who} {} {}", shown(figure), line.unit),
                    _ => print!("   {who} {} [{:.2}]", shown(figure), figure / ours),
                }
            }
            println!();
            for goal in &line.goals {
                println!("  {:<32}  {}", "", line.verdict(*goal));
            }
        }
        for (who, ahead, of) in self.score().into_iter().filter(|score| score.2 > 1) {
            println!("  ahead of {who} in {ahead} of {of} lines");
        }
    }

    /// Returns for each rival the number of its lines in which our figure is the lower one.
    fn score(&self) -> Vec<(&'static str, usize, usize)> {
        let mut score: Vec<(&'static str, usize, usize)> = Vec::new();
        for line in &self.lines {
            let ours = line.ours();
            for (who, figures) in line.figures.iter().skip(1) {
                let ahead = usize::from(ours < median(figures));
                match score.iter_mut().find(|(other, ..)| other == who) {
                    Some(of) => (of.1, of.2) = (of.1 + ahead, of.2 + 1),
                    None => score.push((who, ahead, 1)),
                }
            }
        }
        score
    }

    pub(crate) fn json(&self) -> String {
        let lines = self.lines.iter().map(|line| {
            let figures = line.figures.iter().map(|(who, figures)| {
                let (low, high) = figures
                    .iter()
                    .fold((f64::MAX, f64::MIN), |(low, high), &f| {
                        (low.min(f), high.max(f))
                    });
                let median = median(figures);
                format!(r#"{who:?}:{{"median":{median:.2},"min":{low:.2},"max":{high:.2}}}"#)
            });
            let goals = line.goals.iter().map(|&goal| {
                let met = line.is_met(goal);
                let text = line.verdict(goal);
                format!(r#"{{"goal":{text:?},"met":{met}}}"#)
            });
            format!(
                r#"  {{"metric":{:?},"unit":{:?},"figures":{{{}}},"goals":[{}]}}"#,
                line.metric,
                line.unit,
                figures.collect::<Vec<_>>().join(","),
                goals.collect::<Vec<_>>().join(",")
            )
        });
        let lines = lines.collect::<Vec<_>>().join(",\n");
        format!("{{\"title\":{:?},\"lines\":[\n{lines}\n]}}", self.title)
    }

    fn markdown(&self) -> String {
        let mut who: Vec<&str> = Vec::new();
        for (name, _) in self.lines.iter().flat_map(|line| &line.figures) {
            if !who.contains(name) {
                who.push(name);
            }
        }
        let mut out = format!("{}\n\n| | {} | goal |\n", self.title, who.join(" | "));
        out.push_str(&"|---".repeat(who.len() + 2));
        out.push_str("|\n");
        for line in &self.lines {
            let ours = line.ours();
            write!(out, "| {}, {} |", line.metric, line.unit).expect("memory takes everything");
            for (at, name) in who.iter().enumerate() {
                let found = line.figures.iter().find(|(other, _)| other == name);
                let cell = found.map_or(String::new(), |(_, figures)| match median(figures) {
                    figure if at == 0 => shown(figure),
                    figure => format!("{} ({:.2}x)", shown(figure), figure / ours),
                });
                write!(out, " {cell} |").expect("memory takes everything");
            }
            let goals = line.goals.iter().map(|&goal| line.verdict(goal));
            let goals = goals.collect::<Vec<_>>().join("; ");
            writeln!(out, " {goals} |").expect("memory takes everything");
        }
        out
    }
}

impl Line {
    fn ours(&self) -> f64 {
        self.figures
            .first()
            .map_or(0.0, |(_, figures)| median(figures))
    }

    fn of(&self, who: &str) -> Option<f64> {
        let found = self.figures.iter().find(|(other, _)| *other == who);
        found.map(|(_, figures)| median(figures))
    }

    fn is_met(&self, goal: Goal) -> bool {
        match goal {
            Goal::AtMost(most) => self.ours() <= most,
            Goal::Times(times, rival) => self
                .of(rival)
                .is_some_and(|rival| self.ours() <= times * rival),
        }
    }

    fn verdict(&self, goal: Goal) -> String {
        let verdict = if self.is_met(goal) { "met" } else { "MISSED" };
        match goal {
            Goal::AtMost(most) => format!("goal {} {}: {verdict}", shown(most), self.unit),
            Goal::Times(times, rival) => {
                let ratio = self.of(rival).map_or(f64::NAN, |rival| self.ours() / rival);
                format!("goal {times} x {rival}, is {ratio:.2}: {verdict}")
            }
        }
    }
}

/// Returns the sizes to run: those of `HEADCOUNT_BENCH_SIZES`, numbers with commas between, or the default.
#[must_use]
pub fn sizes() -> Vec<usize> {
    let text = std::env::var("HEADCOUNT_BENCH_SIZES").unwrap_or("10000,100000,1000000".into());
    text.split(',')
        .filter_map(|size| size.trim().parse().ok())
        .collect()
}

/// Writes all tables to the files that `HEADCOUNT_BENCH_JSON` and `HEADCOUNT_BENCH_MARKDOWN` name.
///
/// # Panics
/// If a file cannot be written.
pub fn save(tables: &[Table]) {
    if let Some(path) = std::env::var_os("HEADCOUNT_BENCH_JSON") {
        let all: Vec<String> = tables.iter().map(Table::json).collect();
        let text = format!("[\n{}\n]\n", all.join(",\n"));
        std::fs::write(path, text).expect("the file can be written");
    }
    if let Some(path) = std::env::var_os("HEADCOUNT_BENCH_MARKDOWN") {
        let all: Vec<String> = tables.iter().map(Table::markdown).collect();
        std::fs::write(path, all.join("\n")).expect("the file can be written");
    }
}

fn median(figures: &[f64]) -> f64 {
    let mut sorted = figures.to_vec();
    sorted.sort_by(f64::total_cmp);
    match sorted.len() {
        0 => 0.0,
        len if len % 2 == 1 => sorted[len / 2],
        len => (sorted[len / 2 - 1] + sorted[len / 2]) / 2.0,
    }
}

/// Formats a figure with the digits that matter.
pub(crate) fn shown(figure: f64) -> String {
    match figure {
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure => format!("{figure:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new("sets, 3 elements".into());
        for (ours, theirs) in [(9.0, 3.0), (2.0, 4.0), (3.0, 200.0)] {
            table.note("insert", "ns", "ours", ours);
            table.note("insert", "ns", "theirs", theirs);
        }
        table.note("memory", "B", "ours", 10.0);
        table.note("memory", "B", "theirs", 8.0);
        table.goal("insert", Goal::Times(0.8, "theirs"));
        table.goal("insert", Goal::AtMost(2.5));
        table.goal("insert", Goal::Times(1.0, "nobody"));
        table
    }

    #[test]
    fn medians_decide_about_goals_and_scores() {
        let table = table();
        let insert = &table.lines[0];
        assert_eq!((insert.ours(), insert.of("theirs")), (3.0, Some(4.0)));
        let met: Vec<bool> = insert
            .goals
            .iter()
            .map(|&goal| insert.is_met(goal))
            .collect();
        assert_eq!(met, [true, false, false]);
        assert_eq!(table.score(), [("theirs", 1, 2)]);
        assert_eq!(median(&[1.0, 4.0]), 2.5);
    }

    #[test]
    fn files_say_the_same() {
        let table = table();
        assert!(
            table.json().contains(
                r#""ours":{"median":3.00,"min":2.00,"max":9.00},"theirs":{"median":4.00"#
            )
        );
        assert!(
            table
                .json()
                .contains(r#""goals":[{"goal":"goal 0.8 x theirs, is 0.75: met","met":true}"#)
        );
        assert!(
            table
                .markdown()
                .contains("| insert, ns | 3.00 | 4.00 (1.33x) |")
        );
    }
}
