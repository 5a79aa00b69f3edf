//! The plots of a file of results: files of SVG, and a page that shows them.
//!
//! What no record has is left out, and that is said aloud and on the page.

mod axis;
mod draw;
mod figures;

use crate::Result;
use crate::cli::PlotsOptions;
use crate::record::Record;
use crate::results::Content;
use std::fmt::Write;
use std::path::Path;

/// Draws everything that the results have, at the scale of their last record. Returns whether
/// there was anything to draw.
pub fn run(options: &PlotsOptions) -> Result<bool> {
    let default = || options.directory.as_ref().map(|folder| folder.join("compare.jsonl"));
    let path = options.results.clone().or_else(default);
    let path = path.ok_or("say where the results are: --directory DIR or --results FILE")?;
    let content = Content::read(&path)?;
    let last = content.records.last().ok_or("the file has no records")?;
    std::fs::create_dir_all(&options.output)?;
    let page = draw_all(&content, last.scale, &options.output)?;
    std::fs::write(options.output.join("README.md"), &page.text)?;
    eprintln!("{} plots, {} left out", page.drawn, page.left_out);
    Ok(page.drawn > 0)
}

struct Page {
    text: String,
    drawn: usize,
    left_out: usize,
}

fn draw_all(content: &Content, scale: f64, output: &Path) -> Result<Page> {
    let records = content.records.iter();
    let records: Vec<&Record> =
        records.filter(|record| record.scale.total_cmp(&scale).is_eq()).collect();
    let mut text = String::from("# Plots\n\n");
    writeln!(text, "Made by the command `plots` of [the comparison](../BENCHMARKS.md#plots).")?;
    if let Some(machine) = &content.machine {
        let (cores, cpu, memory) = (machine.cores, &machine.cpu, machine.memory_mib);
        writeln!(text, "Machine: {cores} cores of {cpu}, {memory} MiB, {}.", machine.file_system)?;
    }
    if scale < 1.0 {
        writeln!(text, "\nScale {scale}: these are no figures, they only show that it works.")?;
    }
    let mut page = Page { text, drawn: 0, left_out: 0 };
    for mut figure in figures::all(&records) {
        if scale < 1.0 {
            figure.title.push_str(&format!(" (scale {scale}: no figures)"));
        }
        if figure.lines.is_empty() {
            eprintln!("{}: left out, no record has it", figure.name);
            writeln!(page.text, "\n{}: not measured.", figure.title)?;
            page.left_out += 1;
            continue;
        }
        let file = format!("{}.svg", figure.name);
        draw::draw(&figure, &output.join(&file))?;
        writeln!(page.text, "\n![{}]({file})", figure.title)?;
        page.drawn += 1;
    }
    Ok(page)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A few records of a small run, of two engines.
    const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/sample.jsonl");

    fn draw(content: &Content, name: &str) -> (std::path::PathBuf, Page) {
        let folder = format!("compare-plots-{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(folder);
        std::fs::create_dir_all(&folder).expect("the folder for temporary files can be written");
        let page = draw_all(content, 0.002, &folder).expect("the plots are drawn");
        (folder, page)
    }

    #[test]
    fn every_plot_of_the_sample_shows_title_axes_and_engines() {
        let content = Content::read(Path::new(SAMPLE)).expect("the sample is there");
        let (folder, page) = draw(&content, "all");
        assert_eq!((page.drawn, page.left_out), (12, 0), "{}", page.text);
        for line in page.text.lines().filter(|line| line.starts_with("![")) {
            let (title, file) = line[2..line.len() - 1].split_once("](").expect("it is a link");
            let svg = std::fs::read_to_string(folder.join(file)).expect("the file is there");
            let (whole, _) = title.split_once(" (scale").expect("it says that it is small");
            for text in [whole, "tidelog", "fjall"] {
                assert!(svg.contains(text), "{file} does not show {text}");
            }
        }
        std::fs::remove_dir_all(folder).expect("the folder is there");
    }

    #[test]
    fn what_no_record_has_is_left_out_and_told() {
        let mut content = Content::read(Path::new(SAMPLE)).expect("the sample is there");
        content.records.retain(|record| record.workload == "w2");
        content.records.iter_mut().for_each(|record| record.series.clear());
        let (folder, page) = draw(&content, "few");
        assert_eq!((page.drawn, page.left_out), (1, 11), "{}", page.text);
        assert_eq!(std::fs::read_dir(&folder).expect("the folder is there").count(), 1);
        assert_eq!(page.text.matches("not measured").count(), 11);
        std::fs::remove_dir_all(folder).expect("the folder is there");
    }
}
