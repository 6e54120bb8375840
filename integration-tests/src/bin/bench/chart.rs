//! Pictures in SVG. Of medians ([`svg`]): a group for each size, a bar for each system, each group scaled to its own highest
//! bar, because the sizes differ by an order of magnitude. Of ratios ([`times`]): from a line that stands for 1.

use std::fmt::Write;

use crate::report::Measured;

const COLOURS: [&str; 3] = ["#2a6f97", "#61a5c2", "#b5651d"];
const LEFT: usize = 250;
const BAR: usize = 22;
const WIDTH: usize = 420;

/// The picture.
pub fn svg(measured: &[Measured]) -> String {
    let mut sizes: Vec<usize> = measured.iter().map(|row| row.size_bytes).collect();
    sizes.sort_unstable();
    sizes.dedup();
    let (mut body, mut y) = (String::new(), 20);
    for size in sizes {
        let group: Vec<&Measured> = measured.iter().filter(|row| row.size_bytes == size).collect();
        let highest = group.iter().map(|row| row.median()).fold(1.0, f64::max);
        let _ = writeln!(body, "<text x=\"10\" y=\"{y}\" font-weight=\"bold\">{} KB a message</text>", size / 1000);
        y += 10;
        for (index, row) in group.iter().enumerate() {
            let length = (row.median() / highest * WIDTH as f64) as usize;
            let (middle, end) = (y + BAR * 2 / 3, LEFT + length + 6);
            let _ = writeln!(body, "<text x=\"{}\" y=\"{middle}\" text-anchor=\"end\">{}</text>", LEFT - 8, row.system);
            let colour = COLOURS[index % COLOURS.len()];
            let _ = writeln!(
                body,
                "<rect x=\"{LEFT}\" y=\"{y}\" width=\"{length}\" height=\"{}\" fill=\"{colour}\"/>",
                BAR - 5
            );
            let _ = writeln!(body, "<text x=\"{end}\" y=\"{middle}\">{:.0}/s</text>", row.median());
            y += BAR;
        }
        y += 28;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{y}\" viewBox=\"0 0 {0} {y}\" font-family=\"sans-serif\" \
         font-size=\"13\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n{body}</svg>\n",
        LEFT + WIDTH + 80
    )
}

/// The width of the names, and of the bars on both sides of the line, in [`times`].
const NAMES: f64 = 440.0;
const BARS: f64 = 360.0;
const THIN: f64 = 13.0;

/// What is compared, and its ratios in the order of the bars, each with its colour.
pub type Ratios = (&'static str, Vec<(f64, &'static str)>);

/// The picture of ratios on a logarithmic scale: what is above 1 stands right of the line, what is below left of it.
pub fn times(title: &str, legend: &str, rows: &[Ratios]) -> String {
    let logarithm = |ratio: f64| ratio.max(0.001).log10();
    let all = rows.iter().flat_map(|(_, ratios)| ratios);
    let reach = all.fold(1.0_f64, |reach, (ratio, _)| reach.max(logarithm(*ratio).abs()));
    let middle = NAMES + BARS / 2.0;
    let (mut body, mut y) = (String::new(), 48.0);
    for (name, ratios) in rows {
        let baseline = y + THIN * ratios.len() as f64 / 2.0 + 4.0;
        let _ = writeln!(body, "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{name}</text>", NAMES - 8.0);
        for (ratio, colour) in ratios {
            let power = logarithm(*ratio);
            let length = power.abs() / reach * (BARS / 2.0 - 50.0);
            let (x, label) = if power >= 0.0 { (middle, middle + length) } else { (middle - length, middle) };
            let _ = writeln!(
                body,
                "<rect x=\"{x:.1}\" y=\"{y}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>",
                THIN - 1.0
            );
            let (x, y_text, size) = (label + 6.0, y + THIN - 3.0, THIN - 2.0);
            let _ = writeln!(body, "<text x=\"{x:.1}\" y=\"{y_text}\" font-size=\"{size}\">{ratio:.2}</text>");
            y += THIN;
        }
        y += 8.0;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{y}\" viewBox=\"0 0 {0} {y}\" \
         font-family=\"sans-serif\" font-size=\"13\" fill=\"#222\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"{middle}\" y=\"18\" text-anchor=\"middle\">{title}</text>\n\
         <text x=\"{middle}\" y=\"34\" text-anchor=\"middle\" font-size=\"11\">{legend}</text>\n\
         <line x1=\"{middle}\" y1=\"42\" x2=\"{middle}\" y2=\"{1}\" stroke=\"#222\"/>\n{body}</svg>\n",
        NAMES + BARS + 20.0,
        y - 4.0
    )
}
