//! Draws when the text of answers arrived, from the request to the end, as bars of characters or as
//! an SVG picture.

use std::fmt::Write as _;
use std::time::Duration;

/// The times at which the pieces of one answer could be read.
pub(crate) struct Timeline {
    name: &'static str,
    /// Seconds since the request.
    pieces: Vec<f64>,
}

impl Timeline {
    pub(crate) fn new(name: &'static str, pieces: impl IntoIterator<Item = Duration>) -> Self {
        let pieces = pieces.into_iter().map(|piece| piece.as_secs_f64()).collect();
        Self { name, pieces }
    }

    fn first(&self) -> f64 {
        self.pieces.first().copied().unwrap_or_default()
    }

    fn end(&self) -> f64 {
        self.pieces.last().copied().unwrap_or_default()
    }
}

/// Returns the end of the longest timeline in seconds. It is never zero.
fn longest(timelines: &[Timeline]) -> f64 {
    timelines.iter().map(Timeline::end).fold(1e-6, f64::max)
}

/// Draws one row per timeline for a terminal of 80 columns: `░` while there is nothing to read, and
/// `█` while text arrives.
pub(crate) fn bars(timelines: &[Timeline]) -> String {
    const WIDTH: usize = 42;
    let longest = longest(timelines);
    let columns = |seconds: f64| (seconds / longest * WIDTH as f64).round() as usize;
    let mut rows = String::new();
    for timeline in timelines {
        let end = columns(timeline.end()).max(1);
        let wait = columns(timeline.first()).min(end - 1);
        let bar = "░".repeat(wait) + &"█".repeat(end - wait);
        let (name, first) = (timeline.name, timeline.first());
        let _ = writeln!(rows, "{name:<15}  {bar:<WIDTH$}  first text {first:.2} s");
    }
    let end = format!("{longest:.2} s");
    rows + &format!("{:17}0 s{end:>1$}\n", "", WIDTH - 3)
        + &format!("{:17}░ waiting  █ text arriving", "")
}

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 32.0;
const TOP: f64 = 92.0;
const ROW: f64 = 74.0;
const BAR: f64 = 26.0;

/// Draws an SVG picture that fits light and dark pages.
pub(crate) fn svg(timelines: &[Timeline]) -> String {
    // Some room after the longest timeline shows that its last piece is the last.
    let scale = (WIDTH - 2.0 * MARGIN - 10.0) / longest(timelines);
    let x = |seconds: f64| MARGIN + seconds * scale;
    let axis = TOP + ROW * timelines.len() as f64 - ROW + BAR + 30.0;
    let height = axis + 42.0;
    let right = WIDTH - MARGIN;

    let mut body = format!("  <path class=\"axis\" d=\"M{MARGIN} {axis}H{right}");
    let step = step(longest(timelines));
    let decimals = (-step.log10().floor()).max(0.0) as usize;
    let ticks = (0..).map(|n| f64::from(n) * step);
    let ticks: Vec<_> = ticks.take_while(|&tick| tick <= longest(timelines)).collect();
    for &tick in &ticks {
        let _ = write!(body, "M{:.1} {axis}v6", x(tick));
    }
    body += "\"/>\n";
    for tick in ticks {
        let (x, y) = (x(tick), axis + 22.0);
        let anchor = if tick > 0.0 { "middle" } else { "start" };
        let _ = writeln!(
            body,
            r#"  <text class="small" x="{x:.1}" y="{y}" text-anchor="{anchor}">{tick:.decimals$} s</text>"#
        );
    }
    for (row, timeline) in timelines.iter().enumerate() {
        let baseline = TOP + ROW * row as f64;
        body += &svg_row(timeline, baseline, x);
    }

    let times: Vec<_> = timelines
        .iter()
        .map(|t| {
            format!("{}: first text after {:.2} s, end after {:.2} s", t.name, t.first(), t.end())
        })
        .collect();
    let description = times.join("; ");
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img" aria-labelledby="title description">
  <title id="title">One prompt, asked twice</title>
  <desc id="description">{description}.</desc>
  <style>
    text {{ font: 14px ui-sans-serif, system-ui, "Segoe UI", "Helvetica Neue", Arial, sans-serif; fill: #1f2328 }}
    .title {{ font-size: 17px; font-weight: 600 }}
    .name {{ font: 600 14px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace }}
    .time {{ font-weight: 600 }}
    .small {{ font-size: 12px; fill: #59636e }}
    .card {{ fill: #ffffff; stroke: #d1d9e0 }}
    .axis {{ fill: none; stroke: #b7c0c9 }}
    .wait {{ fill: #e6eaef }}
    .stripe {{ stroke: #cdd5dd; stroke-width: 3 }}
    .text {{ fill: #0b7a75 }}
    .cut {{ stroke: #ffffff; stroke-opacity: .45 }}
    @media (prefers-color-scheme: dark) {{
      text {{ fill: #f0f6fc }}
      .small {{ fill: #9198a1 }}
      .card {{ fill: #0d1117; stroke: #3d444d }}
      .axis {{ stroke: #4b535d }}
      .wait {{ fill: #212830 }}
      .stripe {{ stroke: #353d47 }}
      .text {{ fill: #2dd4bf }}
      .cut {{ stroke: #0d1117 }}
    }}
  </style>
  <defs>
    <pattern id="waiting" width="9" height="9" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
      <rect class="wait" width="9" height="9"/>
      <line class="stripe" x1="1.5" x2="1.5" y2="9"/>
    </pattern>
  </defs>
  <rect class="card" x=".5" y=".5" width="{card_width}" height="{card_height}" rx="12"/>
  <text class="title" x="{MARGIN}" y="40">One prompt, asked twice</text>
  <rect fill="url(#waiting)" x="{legend_wait}" y="28" width="22" height="14" rx="3"/>
  <text class="small" x="{legend_wait_text}" y="39">waiting</text>
  <rect class="text" x="{legend_text}" y="28" width="22" height="14" rx="3"/>
  <text class="small" x="{right}" y="39" text-anchor="end">text arriving</text>
{body}</svg>
"##,
        card_width = WIDTH - 1.0,
        card_height = height - 1.0,
        legend_wait = right - 204.0,
        legend_wait_text = right - 176.0,
        legend_text = right - 102.0,
    )
}

fn svg_row(timeline: &Timeline, baseline: f64, x: impl Fn(f64) -> f64) -> String {
    let (first, end) = (x(timeline.first()), x(timeline.end()));
    let y = baseline + 12.0;
    let (wait, text) = (first - MARGIN, (end - first).max(8.0));
    let mut row = format!(
        r#"  <text class="name" x="{MARGIN}" y="{baseline}">{}</text>
  <text class="time" x="{}" y="{baseline}" text-anchor="end">first text after {:.2} s</text>
  <rect fill="url(#waiting)" x="{MARGIN}" y="{y}" width="{wait:.1}" height="{BAR}" rx="4"/>
  <rect class="text" x="{first:.1}" y="{y}" width="{text:.1}" height="{BAR}" rx="4"/>
"#,
        timeline.name,
        WIDTH - MARGIN,
        timeline.first(),
    );
    // Each piece gets its own edge if the pieces are far enough apart to be seen.
    let pieces = timeline.pieces.get(1..).unwrap_or_default();
    if text / pieces.len() as f64 >= 3.0 {
        for &piece in pieces.iter().take(pieces.len().saturating_sub(1)) {
            let (x, bottom) = (x(piece), y + BAR);
            let _ = writeln!(
                row,
                r#"  <line class="cut" x1="{x:.1}" x2="{x:.1}" y1="{y}" y2="{bottom}"/>"#
            );
        }
    }
    row
}

/// Returns the distance between two ticks of the axis: 1, 2 or 5 times a power of ten, for about six
/// ticks.
fn step(longest: f64) -> f64 {
    let power = 10_f64.powf((longest / 6.0).log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|factor| factor * power);
    steps.into_iter().find(|step| longest / step <= 6.0).unwrap_or(power)
}
