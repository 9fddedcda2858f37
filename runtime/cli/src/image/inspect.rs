//! `image inspect`.

use engine::cache::CodePaths;
use engine::image::missing;
use image::inspect::{Inspection, Program};
use image::{inspect, pull};
use serde_json::json;

use super::{Room, say, size};
use crate::options::Inspect;

/// Shows what an image is.
pub(super) fn inspect(room: &Room, options: &Inspect) -> anyhow::Result<()> {
    let lease = room.store.lease()?;
    let reference = room.named(&options.image)?;
    let image = pull::local(&room.store, &lease, &reference)?;
    let told = inspect::inspect(&room.store, &lease, &image)?;
    let code = CodePaths::new(room.data.code());
    let is_compiled = |program: &Program| code.existing(&program.sha256).is_some();
    let compiled = told.program.as_ref().is_some_and(is_compiled);
    if options.output.is_some() {
        let mut object = serde_json::to_value(&told)?;
        if let Some(fields) = object.as_object_mut() {
            fields.insert("reference".to_owned(), json!(reference.to_string()));
            fields.insert("compiled".to_owned(), json!(compiled));
            let missing = told.program.iter().flat_map(missing_of);
            let missing: Vec<_> = missing
                .map(|(import, remedy)| json!({"import": import, "remedy": remedy}))
                .collect();
            fields.insert("missing".to_owned(), json!(missing));
        }
        return say(&format!("{object:#}"));
    }
    lines(&told, compiled, &reference.familiar())
        .iter()
        .try_for_each(|line| say(&crate::run::escaped(line.replace('\n', "\\n").as_bytes())))
}

fn lines(told: &Inspection, compiled: bool, name: &str) -> Vec<String> {
    let mut lines = vec![
        format!("Image:     {name}"),
        format!("Digest:    {}", told.digest),
    ];
    if told.manifest != told.digest {
        lines.push(format!("Manifest:  {}", told.manifest));
        lines.push(format!("Platforms: {}", told.platforms.join(", ")));
    }
    lines.push(format!("Kind:      {}", told.kind));
    lines.push(format!("Size:      {}", size(told.size)));
    lines.push("Layers:".to_owned());
    for layer in &told.layers {
        let title = layer.title.as_deref().unwrap_or_default();
        let line = format!(
            "  {} {} {} {title}",
            layer.digest,
            layer.media_type,
            size(layer.size)
        );
        lines.push(line.trim_end().to_owned());
    }
    if let Some(config) = &told.config {
        let words = |words: &[String]| format!("{words:?}");
        lines.push(format!("Entrypoint: {}", words(&config.entrypoint)));
        lines.push(format!("Cmd:       {}", words(&config.cmd)));
        lines.push(format!("Env:       {}", words(&config.env)));
        lines.push(format!("Directory: {}", config.working_dir));
    }
    match (&told.program, &told.untold) {
        (Some(program), _) => lines.extend(program_lines(program, compiled)),
        (None, Some(why)) => lines.push(format!("Program:   not told: {why}")),
        (None, None) => {}
    }
    lines
}

fn program_lines(program: &Program, compiled: bool) -> Vec<String> {
    let form = if program.wasm.component {
        "component"
    } else {
        "module"
    };
    let state = if compiled {
        "compiled"
    } else {
        "not compiled yet"
    };
    let mut lines = vec![
        "Program:".to_owned(),
        format!(
            "  {form} for {}, {}, {state}",
            program.os,
            size(program.size)
        ),
        format!("  sha256:{}", program.sha256),
    ];
    for (what, names) in [
        ("World", &program.worlds),
        ("Import", &program.wasm.imports),
        ("Export", &program.wasm.exports),
    ] {
        lines.extend(names.iter().map(|name| format!("  {what}: {name}")));
    }
    let missing = missing_of(program);
    lines.extend(missing.map(|(import, remedy)| format!("  Missing: {import} ({remedy})")));
    lines
}

/// The imports that nobody provides, of a module its modules, each with what to do about it.
fn missing_of(program: &Program) -> impl Iterator<Item = (&str, &'static str)> {
    let remedy = match program.wasm.component {
        true => missing::remedy,
        false => missing::module_remedy,
    };
    let imports = program.wasm.imports.iter();
    imports.filter_map(move |import| Some((import.as_str(), remedy(import)?)))
}
