//! Graphs of traffic as SVG, with the same numbers as a table.

use maud::{Markup, html};

use super::layout::table;
use super::texts::{Texts, fill};
use super::words::{ago, octets};
use crate::traffic::report::{Octets, SpanTraffic};

const WIDTH: usize = 600;
const HEIGHT: usize = 120;

/// The periods of a row of the table: 5 minutes, an hour, a day.
fn periods_in_row(span: &SpanTraffic) -> usize {
    if span.span == "hour" { 5 } else { 4 }
}

/// The graph of `traffic`, with this heading.
pub fn graph(texts: &Texts, heading: &str, traffic: &SpanTraffic) -> Markup {
    let words = &texts.traffic;
    let (received, sent) = traffic.octets();
    let highest = traffic.periods.iter().map(|period| period.received.max(period.sent)).max().unwrap_or(0);
    let count = traffic.periods.len();
    let line = |of: fn(&Octets) -> u64| points(&traffic.periods.iter().map(of).collect::<Vec<_>>(), highest);
    let begin = ago(texts, traffic.period_secs.saturating_mul(count as u64));
    let summary = fill(
        &words.summary,
        &[("received", &octets(texts, received)), ("sent", &octets(texts, sent)), ("begin", &begin)],
    );
    let (title, about) = (format!("{}-title", traffic.span), format!("{}-about", traffic.span));
    html! {
        h3 { (heading) }
        svg .graph viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } role="img" aria-labelledby={ (title) " " (about) } {
            title id=(title) { (heading) }
            desc id=(about) { (summary) }
            polyline .received points=(line(|period| period.received)) {}
            polyline .sent points=(line(|period| period.sent)) {}
        }
        p .legend {
            span .received { (words.received) ": " (octets(texts, received)) } " "
            span .sent { (words.sent) ": " (octets(texts, sent)) } " "
            span { (fill(&words.highest, &[("amount", &octets(texts, highest))])) }
        }
        details {
            summary { (words.as_table) }
            (numbers(texts, heading, traffic))
        }
    }
}

/// The points of a line through `values`, whose greatest possible one is `highest`.
fn points(values: &[u64], highest: u64) -> String {
    let last = values.len().saturating_sub(1).max(1);
    let point = |(at, value): (usize, &u64)| {
        let height = u128::from(*value) * (HEIGHT as u128 - 4) / u128::from(highest.max(1));
        format!("{},{}", at * WIDTH / last, HEIGHT as u128 - 2 - height.min(HEIGHT as u128 - 4))
    };
    values.iter().enumerate().map(point).collect::<Vec<_>>().join(" ")
}

fn numbers(texts: &Texts, heading: &str, traffic: &SpanTraffic) -> Markup {
    let words = &texts.traffic;
    let in_row = periods_in_row(traffic);
    let count = traffic.periods.len();
    let rows: Vec<_> = traffic
        .periods
        .chunks(in_row)
        .enumerate()
        .map(|(number, periods)| {
            let before = (count - number * in_row) as u64;
            let sum = |of: fn(&Octets) -> u64| periods.iter().map(of).fold(0, u64::saturating_add);
            [
                html! { (ago(texts, before.saturating_mul(traffic.period_secs))) },
                html! { (octets(texts, sum(|period| period.received))) },
                html! { (octets(texts, sum(|period| period.sent))) },
            ]
        })
        .collect();
    table(heading, [&words.begins, &words.received, &words.sent].map(String::as_str), &rows)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::tests::request;
    use crate::traffic::history::{Amount, Span};

    #[test]
    fn a_graph_has_a_point_for_each_period_and_the_same_as_text() {
        assert_eq!(points(&[0, 50, 100], 100), "0,118 300,60 600,2");
        assert_eq!(points(&[u64::MAX], u64::MAX), "0,2");
        assert_eq!(points(&[0, 0], 0), "0,118 600,118");
        let texts = Texts::of(&request("/"));
        for span in Span::ALL {
            let (_, count) = span.periods();
            let amount = Amount { octets_received: 1_000_000, octets_sent: 2_000, ..Amount::default() };
            let traffic = SpanTraffic::new(span, vec![amount; count]);
            let graph = graph(texts, "Last <hour>", &traffic).into_string();
            assert!(graph.contains("role=\"img\"") && graph.contains("Last &lt;hour&gt;"), "{graph}");
            let drawn = graph.split("points=\"").nth(1).and_then(|rest| rest.split('"').next());
            assert_eq!(drawn.map(|points| points.split(' ').count()), Some(count));
            assert_eq!(graph.matches("<tr").count(), count.div_ceil(periods_in_row(&traffic)) + 1);
            assert!(!graph.contains("style="), "{graph}");
        }
    }
}
