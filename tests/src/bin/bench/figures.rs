//! Medians and tables.

use std::time::Duration;

/// The middle of the values; not a number when there are none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        length if length % 2 == 0 => f64::midpoint(values[middle - 1], values[middle]),
        _ => values[middle],
    }
}

/// A duration as milliseconds.
pub(crate) fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// The median of durations and the longest of them, in milliseconds.
pub(crate) fn median_and_worst(durations: &[Duration]) -> String {
    let worst = durations.iter().max().copied().unwrap_or_default();
    let median = median(durations.iter().copied().map(millis));
    format!("{median:.0} ms, worst {:.0} ms", millis(worst))
}

/// A row of a report.
pub(crate) type Figure = (String, String);

/// Prints rows of a name and a value.
pub(crate) fn print(figures: &[Figure]) {
    println!();
    for (what, value) in figures {
        println!("{what:<56} {value:>26}");
    }
}

/// Prints a table; the first line is its head, the first column stands left, the others right.
pub(crate) fn print_table(lines: &[Vec<String>]) {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = lines.iter().filter_map(|line| line.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    println!();
    for line in lines {
        let mut text = String::new();
        for (column, (cell, width)) in line.iter().zip(&widths).enumerate() {
            if column == 0 {
                text += &format!("{cell:<width$}");
            } else {
                text += &format!("  {cell:>width$}");
            }
        }
        println!("{}", text.trim_end());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_or_the_mean_of_the_two() {
        assert!(median([]).is_nan());
        assert_eq!(median([3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median([4.0, 1.0]), 2.5);
    }

    #[test]
    fn the_worst_is_told_beside_the_median() {
        let times = [5, 400, 7].map(Duration::from_millis);
        assert_eq!(median_and_worst(&times), "7 ms, worst 400 ms");
    }
}
