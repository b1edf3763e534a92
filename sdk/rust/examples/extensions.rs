//! The extensions: descriptions, signatures, variables, byte strings and sequences. In a build for WasmEdge's functions,
//! its streaming too.
//!
//! The host has the graphs `types` (as for `tour`), `learner`, which learns a factor, `echo`, which gives strings back,
//! and `speller`, which spells a word letter by letter and fails at `?`.

use std::process;
use wasi_nn_guest::{Context, Description, Dimension, ElementType, Error, Graph, Tensor, TensorDescription};

fn main() {
    wasi_nn_guest::start();
    if let Err(error) = extensions() {
        eprintln!("{}", error);
        process::exit(1);
    }
}

fn extensions() -> Result<(), Error> {
    named()?;
    learner()?;
    strings()?;
    sequences()?;
    #[cfg(feature = "wasmedge")]
    streaming()?;
    Ok(())
}

fn named() -> Result<(), Error> {
    let mut context = Graph::load_by_name("types")?.context()?;
    let inputs = [
        ("i64", Tensor::new(&[2], &[7i64, -8])?),
        ("f16", Tensor::of_bytes(&[2], wasi_nn_guest::Type::F16, &[0; 4])?),
        ("u8", Tensor::new(&[2], &[5u8, 6])?),
        ("f32", Tensor::new(&[2], &[1f32, 2.0])?),
        ("f64", Tensor::new(&[2], &[3f64, 4.0])?),
        ("i32", Tensor::new(&[2], &[3i32, 4])?),
    ];
    for (name, tensor) in context.compute_named(&inputs)? {
        println!("{}: {} {:?}, {} bytes", name, tensor.ty().name(), tensor.dims(), tensor.bytes().len());
    }
    println!("unknown input: {}", code(context.compute_named(&[("none", Tensor::new(&[1], &[1u8])?)])));
    for (name, tensor) in &inputs {
        context.set_input_named(name, tensor)?;
    }
    context.compute()?;
    let (name, tensor) = context.output_tensor(5)?;
    println!("by name: {} {:?}", name, tensor.to_vec::<i64>()?);
    println!("of another type: {}", code(tensor.to_vec::<f64>()));
    Ok(())
}

fn learner() -> Result<(), Error> {
    let graph = Graph::load_by_name("learner")?;
    show(&graph.describe()?);
    println!("unknown signature: {}", code(graph.use_signature("none")));
    let mut training = graph.use_signature("train")?.context()?;
    println!("train: {}", learn(&mut training, [1.0, 2.0])?);
    let state = graph.state()?;
    println!("state: {} bytes", state.len());
    println!("train: {}", learn(&mut training, [1.0, 2.0])?);
    println!("infer: {}", learn(&mut graph.context()?, [1.0, 1.0])?);
    graph.set_state(&state)?;
    println!("restored: {}", learn(&mut graph.context()?, [1.0, 1.0])?);
    println!("bad state: {}", code(graph.set_state(b"no state")));
    println!("no state: {}", code(Graph::load_by_name("echo")?.state()));
    Ok(())
}

fn learn(context: &mut Context, x: [f32; 2]) -> Result<String, Error> {
    context.set_input_at(0, "x", &Tensor::new(&[2], &x)?)?;
    context.compute()?;
    let numbers: Vec<i32> = context.output::<f32>(0)?.iter().map(|it| *it as i32).collect();
    Ok(format!("{:?}", numbers))
}

fn show(description: &Description) {
    println!("{} on {} ({})", description.encoding.name(), description.runtime, description.device);
    println!("signature {} of {}", description.signature, description.signatures.join(", "));
    description.inputs.iter().for_each(|it| show_tensor("input", it));
    description.outputs.iter().flatten().for_each(|it| show_tensor("output", it));
    for (key, text) in &description.metadata {
        println!("{}: {}", key, text);
    }
}

fn show_tensor(what: &str, tensor: &TensorDescription) {
    let dims = tensor.dims.as_ref().map(|dims| {
        let sizes = dims.iter().map(|dim| match dim {
            Dimension::Fixed(size) => size.to_string(),
            Dimension::Named(name) => name.clone(),
            Dimension::Unknown => "?".to_string(),
        });
        sizes.collect::<Vec<_>>().join(", ")
    });
    let elements = match &tensor.element_type {
        ElementType::Number(ty) => ty.name(),
        ElementType::ByteString => "byte strings",
        ElementType::Native(name) => name.as_str(),
        ElementType::Any => "any numbers",
    };
    println!("{} {}: {} [{}]", what, tensor.name, elements, dims.unwrap_or_else(|| "...".to_string()));
}

fn strings() -> Result<(), Error> {
    let graph = Graph::load_by_name("echo")?;
    show_tensor("input", &graph.describe()?.inputs[0]);
    let mut context = graph.context()?;
    context.set_strings_at(0, "x", &[3], &[b"ab", b"", "\u{e9}".as_bytes()])?;
    context.compute()?;
    let strings = context.strings(0)?;
    let texts: Vec<_> = strings.iter().map(|it| format!("'{}'", String::from_utf8_lossy(it))).collect();
    println!("strings: {}", texts.join(" "));
    println!("wrong number: {}", code(wrong_number(&mut context)));
    Ok(())
}

/// Three strings where the dims say two. A core module learns it at once, a component when it computes.
fn wrong_number(context: &mut Context) -> Result<(), Error> {
    context.set_strings_at(0, "x", &[2], &[b"a", b"b", b"c"])?;
    context.compute()
}

fn sequences() -> Result<(), Error> {
    let mut context = Graph::load_by_name("speller")?.context()?;
    println!("sequence: {}", spell(&mut context, "abc")?);
    println!("failing: {}", spell(&mut context, "d?")?);
    context.set_input_at(0, "prompt", &Tensor::new(&[3], b"xyz")?)?;
    context.begin_sequence()?;
    context.next_of_sequence()?;
    context.end_sequence()?;
    println!("after its end: {}", code(context.output::<u8>(0)));
    Ok(())
}

fn spell(context: &mut Context, word: &str) -> Result<String, Error> {
    let mut letters = Vec::new();
    context.set_input_at(0, "prompt", &Tensor::new(&[word.len() as u32], word.as_bytes())?)?;
    context.begin_sequence()?;
    loop {
        match context.next_of_sequence() {
            Ok(true) => letters.push(String::from_utf8_lossy(&context.output::<u8>(0)?).into_owned()),
            Ok(false) => letters.push("end".to_string()),
            Err(error) => letters.push(error.code().to_string()),
        }
        if letters.last().map_or(false, |it| it.len() > 1) {
            return Ok(letters.join(" "));
        }
    }
}

#[cfg(feature = "wasmedge")]
fn streaming() -> Result<(), Error> {
    println!("configured: {}", code(Graph::load_by_name_with_config("speller", "{}")));
    let mut context = Graph::load_by_name_with_config("speller", "")?.context()?;
    context.set_input_at(0, "prompt", &Tensor::new(&[3], b"abc")?)?;
    let mut letters = Vec::new();
    let end = loop {
        match context.compute_single() {
            Ok(()) => letters.push(String::from_utf8_lossy(&context.output_single::<u8>(0)?).into_owned()),
            Err(error) => break error,
        }
    };
    context.fini_single()?;
    println!("streaming: {} {}", letters.join(" "), end.code());
    Ok(())
}

fn code<T>(result: Result<T, Error>) -> &'static str {
    result.map_or_else(|error| error.code().name(), |_| "success")
}
