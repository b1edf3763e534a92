//! Arrays of every type in and out, a model from bytes, and the errors of mistakes.
//!
//!     tour ENCODING FILE...
//!
//! The host has the graph `types`, with an input [2] for each type but bf16, each of which is an output too; `bf16`, with
//! one of bf16; and the files of a model that gives max(x, 0) of its input x, f32 [4].

use std::{env, fs, process};
use wasi_nn_guest::{Bf16, Context, Element, Encoding, Error, Graph, Target, Tensor, F16};

const TYPES: [&str; 6] = ["f16", "f32", "f64", "u8", "i32", "i64"];

fn main() {
    wasi_nn_guest::start();
    if let Err(error) = tour(env::args().skip(1).collect()) {
        eprintln!("{}", error);
        process::exit(1);
    }
}

fn tour(arguments: Vec<String>) -> Result<(), Box<dyn std::error::Error>> {
    let unknown = Graph::load_by_name("no such graph").err().expect("no graph has this name");
    println!("unknown name: {}, with a message: {}", unknown.code(), !unknown.message().is_empty());

    let graph = Graph::load_by_name("types")?;
    println!("no inputs: {}", code(graph.context()?.compute()));
    println!("wrong dims: {}", code(Tensor::new(&[3], &[1f32, -2.0])));
    println!("wrong type: {}", code(wrong_type(&mut graph.context()?)));

    let mut context = graph.context()?;
    set(&mut context, 0, &[F16(0x3c00), F16(0xc000)])?;
    set(&mut context, 1, &[1f32, -2.0])?;
    set(&mut context, 2, &[1f64, -2.0])?;
    set(&mut context, 3, &[1u8, 254])?;
    set(&mut context, 4, &[1i32, -2])?;
    set(&mut context, 5, &[1i64, -9007199254740993])?;
    println!("no output yet: {}", code(context.output::<f32>(1)));
    for _ in 0..2 {
        context.compute()?; // inputs stay set
    }
    println!("f16: {:?}", context.output::<F16>(0)?.iter().map(|it| it.0).collect::<Vec<_>>());
    println!("f32: {:?}", context.output::<f32>(1)?.iter().map(|it| *it as i32).collect::<Vec<_>>());
    println!("f64: {:?}", context.output::<f64>(2)?.iter().map(|it| *it as i32).collect::<Vec<_>>());
    println!("u8: {:?}", context.output::<u8>(3)?);
    println!("i32: {:?}", context.output::<i32>(4)?);
    println!("i64: {:?}", context.output::<i64>(5)?);
    println!("no such output: {}", code(context.output::<f32>(6)));

    let small = context.output_into(5, &mut [0i64; 1]).err().expect("one element is too small");
    println!("small buffer: {}, {} bytes needed", small.code(), small.needed());
    let mut buffer = [0i32; 3];
    println!("large buffer: {} of {:?}", context.output_into(4, &mut buffer)?, buffer);

    println!("bf16: {}", bf16().unwrap_or_else(|error| error.code().to_string()));

    let encoding = arguments.first().and_then(|it| Encoding::from_name(it)).ok_or("usage: tour ENCODING FILE...")?;
    let files = arguments[1..].iter().map(fs::read).collect::<Result<Vec<_>, _>>()?;
    let builders: Vec<&[u8]> = files.iter().map(|it| it.as_slice()).collect();
    let mut relu = Graph::load(&builders, encoding, Target::Cpu)?.context()?; // the context keeps its graph
    relu.set_input_at(0, "x", &Tensor::new(&[4], &[-1f32, 2.0, -3.0, 4.0])?)?;
    relu.compute()?;
    println!("from bytes: {:?}", relu.output::<f32>(0)?.iter().map(|it| *it as i32).collect::<Vec<_>>());
    println!("bad model: {}", code(Graph::load(&[b"no model"], encoding, Target::Cpu)) != "success");

    let again = Graph::load_by_name("types")?; // of the same name, while the first one is there
    drop(graph);
    println!("after a drop: {}", code(again.context()));
    Ok(())
}

fn set<E: Element>(context: &mut Context, index: u32, array: &[E]) -> Result<(), Error> {
    context.set_input_at(index, TYPES[index as usize], &Tensor::new(&[2], array)?)
}

/// The name of the error of a call that fails.
fn code<T>(result: Result<T, Error>) -> &'static str {
    result.map_or_else(|error| error.code().name(), |_| "success")
}

/// Bytes where f32 belongs. A core module learns it at once, a component when it computes.
fn wrong_type(context: &mut Context) -> Result<(), Error> {
    context.set_input_at(1, "f32", &Tensor::new(&[2], &[1u8, 2])?)?;
    context.compute()
}

/// Numbers of a type that the core ABI lacks.
fn bf16() -> Result<String, Error> {
    let mut context = Graph::load_by_name("bf16")?.context()?;
    context.set_input_at(0, "x", &Tensor::new(&[2], &[Bf16::from(1.0), Bf16::from(-2.0)])?)?;
    context.compute()?;
    let numbers: Vec<i32> = context.output::<Bf16>(0)?.into_iter().map(|it| f32::from(it) as i32).collect();
    Ok(format!("{:?}", numbers))
}

