//! Drawing: a figure with lines becomes a file, black on white wherever the page is shown.

use super::axis::{Axis, Scale};
use crate::Result;
use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint};
use plotters::coord::types::RangedCoordf64;
use plotters::prelude::*;
use std::path::Path;

const SIZE: (u32, u32) = (900, 480);
/// Width of the legend, right of the plot.
const LEGEND: i32 = 190;
const FONT: &str = "sans-serif";

/// A plot.
pub struct Figure {
    /// The name of its file, without the ending.
    pub name: &'static str,
    pub title: String,
    /// What the axes show, and how.
    pub x: (&'static str, Scale),
    pub y: (&'static str, Scale),
    pub lines: Vec<Line>,
}

/// What one engine did.
pub struct Line {
    pub engine: String,
    pub points: Vec<(f64, f64)>,
    /// Whether each point was measured by itself, and gets a mark.
    pub marked: bool,
}

/// Writes the file of a figure.
pub fn draw(figure: &Figure, path: &Path) -> Result<()> {
    let points = || figure.lines.iter().flat_map(|line| &line.points);
    let x = Axis::around(figure.x.0, figure.x.1, points().map(|point| point.0));
    let y = Axis::around(figure.y.0, figure.y.1, points().map(|point| point.1));
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let root = root.titled(&figure.title, (FONT, 20))?;
    let (left, right) = root.split_horizontally(i32::try_from(SIZE.0)? - LEGEND);
    let mut chart = ChartBuilder::on(&left)
        .margin(10)
        .x_label_area_size(48)
        .y_label_area_size(72)
        .build_cartesian_2d(ranged(&x), ranged(&y))?;
    chart
        .configure_mesh()
        .x_desc(x.label)
        .y_desc(y.label)
        .x_label_formatter(&|place| x.text(*place))
        .y_label_formatter(&|place| y.text(*place))
        .x_labels(x.ticks.len())
        .y_labels(y.ticks.len())
        .max_light_lines(0)
        .bold_line_style(RGBColor(221, 221, 221))
        .axis_desc_style((FONT, 15))
        .label_style((FONT, 14))
        .draw()?;
    for line in &figure.lines {
        let place = |point: &(f64, f64)| Some((x.scale.place(point.0)?, y.scale.place(point.1)?));
        let places: Vec<(f64, f64)> = line.points.iter().filter_map(place).collect();
        let style = style(&line.engine);
        if is_variant(&line.engine) {
            chart.draw_series(DashedLineSeries::new(places.iter().copied(), 6, 4, style))?;
        } else {
            chart.draw_series(LineSeries::new(places.iter().copied(), style))?;
        }
        if line.marked || places.len() == 1 {
            let mark = |place: &(f64, f64)| Circle::new(*place, 4, style.filled());
            chart.draw_series(places.iter().map(mark))?;
        }
    }
    legend(figure, &right)?;
    root.present()?;
    Ok(())
}

/// An axis as the library wants it.
struct Ranged {
    places: RangedCoordf64,
    ticks: Vec<f64>,
}

fn ranged(axis: &Axis) -> Ranged {
    let ticks = axis.ticks.iter().map(|tick| tick.0).collect();
    Ranged { places: (axis.ends.0..axis.ends.1).into(), ticks }
}

impl plotters::coord::ranged1d::Ranged for Ranged {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, place: &f64, pixels: (i32, i32)) -> i32 {
        self.places.map(place, pixels)
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.ticks.clone()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.places.range()
    }
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// A line for each engine, where no curve runs through it.
fn legend(figure: &Figure, area: &Area<'_>) -> Result<()> {
    for (index, line) in figure.lines.iter().enumerate() {
        let y = 28 + 24 * i32::try_from(index)?;
        let ends = if is_variant(&line.engine) { vec![(8, 18), (22, 32)] } else { vec![(8, 32)] };
        for (start, end) in ends {
            area.draw(&PathElement::new([(start, y), (end, y)], style(&line.engine)))?;
        }
        area.draw(&Text::new(line.engine.clone(), (40, y - 7), (FONT, 15).into_font()))?;
    }
    Ok(())
}

/// `tidelog-lz4` is a variant of `tidelog`.
fn is_variant(engine: &str) -> bool {
    engine.contains('-')
}

/// A colour for each engine, the same in every plot, and told apart by the colour-blind.
fn style(engine: &str) -> ShapeStyle {
    let colour = match engine {
        "tidelog" => RGBColor(0, 114, 178),
        "tidelog-lz4" => RGBColor(0, 60, 110),
        "tidelog-pread" => RGBColor(70, 150, 200),
        "fjall" => RGBColor(214, 143, 0),
        "rocksdb" | "rocksdb-pw" => RGBColor(0, 158, 115),
        "redb" | "redb-qr" => RGBColor(213, 94, 0),
        "heed" => RGBColor(204, 121, 167),
        "rusqlite" => RGBColor(86, 180, 233),
        _ => RGBColor(110, 110, 110),
    };
    colour.stroke_width(if engine == "tidelog" { 3 } else { 2 })
}
