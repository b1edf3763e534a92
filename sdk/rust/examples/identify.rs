//! What is in these files? By the model of Magika, from their bytes alone.
//!
//!     identify GRAPH LABELS FILE...
//!
//! The model sees 1,024 bytes of a file's beginning and as many of its end, each without the white space around the
//! content, each byte as an i32; 256 stands where there is no byte. It gives a probability for each label.

use std::error::Error;
use std::{env, fs, process};
use wasi_nn_guest::{Graph, Tensor};

const SEEN: usize = 1024;
const BLOCK: usize = 4096;
const NO_BYTE: i32 = 256;
const FEWEST_BYTES: usize = 8;

fn main() {
    wasi_nn_guest::start();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.len() < 3 {
        eprintln!("usage: identify GRAPH LABELS FILE...");
        process::exit(2);
    }
    if let Err(error) = identify(&arguments[0], &arguments[1], &arguments[2..]) {
        eprintln!("{}", error);
        process::exit(1);
    }
}

fn identify(graph: &str, labels: &str, files: &[String]) -> Result<(), Box<dyn Error>> {
    let labels = fs::read_to_string(labels)?;
    let labels: Vec<&str> = labels.lines().collect();
    let mut context = Graph::load_by_name(graph)?.context()?;
    for file in files {
        let features = features_of(&fs::read(file)?);
        if features[FEWEST_BYTES - 1] == NO_BYTE {
            println!("{}: too short to tell", file);
            continue;
        }
        context.set_input_at(0, "bytes", &Tensor::new(&[1, 2 * SEEN as u32], &features)?)?;
        context.compute()?;
        let scores: Vec<f32> = context.output(0)?;
        let best = (0..scores.len()).max_by(|a, b| scores[*a].total_cmp(&scores[*b])).ok_or("the model gave no scores")?;
        let percent = (100.0 * scores[best] + 0.5) as u32;
        println!("{}: {}, {} %", file, labels.get(best).unwrap_or(&"?"), percent);
    }
    Ok(())
}

fn features_of(file: &[u8]) -> Vec<i32> {
    let is_space = |byte: &u8| *byte == b' ' || (b'\t'..=b'\r').contains(byte);
    let block = file.len().min(BLOCK);
    let first = file[..block].iter().skip_while(|it| is_space(it));
    let last = file[file.len() - block..].iter().rev().skip_while(|it| is_space(it));
    let mut features = vec![NO_BYTE; 2 * SEEN];
    features.iter_mut().zip(first.take(SEEN)).for_each(|(it, byte)| *it = i32::from(*byte));
    features.iter_mut().rev().zip(last.take(SEEN)).for_each(|(it, byte)| *it = i32::from(*byte));
    features
}
