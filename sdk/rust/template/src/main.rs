//! A guest in Rust: it tells the colour of a red square. Your own begins here.

use std::error::Error;
use std::fs;
use wasi_nn_guest::{Code, Encoding, Graph, Target, Tensor};

const SIZE: usize = 8;
const LABELS: [&str; 6] = ["black", "white", "red", "green", "blue", "yellow"];

/// The model that the operator named, or else the one in the guest's own directory.
fn colours() -> Result<Graph, Box<dyn Error>> {
    match Graph::load_by_name("colours") {
        Err(error) if error.code() == Code::NotFound => {
            println!("no graph is named colours here: loading colours.onnx");
            let model = fs::read("colours.onnx")
                .map_err(|error| format!("colours.onnx: {}: give the guest this directory, --dir .", error))?;
            Ok(Graph::load(&[&model], Encoding::Onnx, Target::Cpu)?)
        }
        named => Ok(named?),
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    wasi_nn_guest::start();
    let mut context = colours()?.context()?; // it keeps its graph
    let mut picture = [-0.9f32; 3 * SIZE * SIZE];
    picture[..SIZE * SIZE].fill(0.9); // the red channel comes first
    context.set_input_at(0, "picture", &Tensor::new(&[1, 3, SIZE as u32, SIZE as u32], &picture)?)?;
    context.compute()?;
    let scores: Vec<f32> = context.output(0)?;
    let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).ok_or("the model gave no scores")?;
    println!("{}", LABELS[best]);
    Ok(())
}
