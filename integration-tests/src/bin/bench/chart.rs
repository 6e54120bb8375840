//! The medians as bars, in SVG: a group for each size, a bar for each system, each group scaled to its own highest bar,
//! because the sizes differ by an order of magnitude.

use std::fmt::Write;

use crate::report::Measured;

const COLOURS: [&str; 3] = ["#2a6f97", "#61a5c2", "#b5651d"];
const LEFT: usize = 190;
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
