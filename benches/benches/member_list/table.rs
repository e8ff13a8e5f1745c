//! Rounds, best times and the printed table.

use std::time::Duration;

/// One line of the table: a metric, and what each structure made of it.
#[derive(Debug)]
pub(crate) struct Line {
    metric: &'static str,
    /// Structure and best time of one operation.
    best: Vec<(&'static str, f64)>,
    unit: &'static str,
}

/// A table of one workload at one size. The first structure is ours.
#[derive(Debug)]
pub(crate) struct Table {
    title: String,
    lines: Vec<Line>,
}

impl Table {
    pub(crate) fn new(title: String) -> Self {
        Self {
            title,
            lines: Vec::new(),
        }
    }

    /// Notes a time; of several rounds the best stays.
    pub(crate) fn time(&mut self, metric: &'static str, who: &'static str, each: Duration) {
        self.note(metric, "ns", who, each.as_nanos() as f64);
    }

    /// Notes any figure for which less is better.
    pub(crate) fn note(
        &mut self,
        metric: &'static str,
        unit: &'static str,
        who: &'static str,
        figure: f64,
    ) {
        let at = self
            .lines
            .iter()
            .position(|line| line.metric == metric)
            .unwrap_or_else(|| {
                self.lines.push(Line {
                    metric,
                    best: Vec::new(),
                    unit,
                });
                self.lines.len() - 1
            });
        let best = &mut self.lines[at].best;
        match best.iter_mut().find(|(other, _)| *other == who) {
            Some((_, old)) => *old = old.min(figure),
            None => best.push((who, figure)),
        }
    }

    pub(crate) fn print(&self) {
        println!("\n{}", self.title);
        for Line { metric, best, unit } in &self.lines {
            print!("  {metric:<26}");
            let ours = best.first().map_or(0.0, |(_, figure)| *figure);
            for (at, (who, figure)) in best.iter().enumerate() {
                let ratio = figure / ours;
                match at {
                    0 => print!("{who} {figure:.1} {unit}"),
                    _ => print!("   {who} {figure:.1} [{ratio:.2}]"),
                }
            }
            println!();
        }
    }
}
