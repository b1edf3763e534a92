//! What is in these pictures? The five best labels of each.
//!
//!     classify GRAPH INPUT LABELS PICTURE...
//!
//! A picture is a binary PPM of the size that the model takes. The model's only input has the name INPUT, and is f32
//! [1, 3, height, width] of (byte - 127) / 128. The scores are taken for logits.

use std::error::Error;
use std::{env, fs, process};
use wasi_nn_guest::{Graph, Tensor};

fn main() {
    wasi_nn_guest::start();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.len() < 4 {
        eprintln!("usage: classify GRAPH INPUT LABELS PICTURE...");
        process::exit(2);
    }
    if let Err(error) = classify(&arguments[0], &arguments[1], &arguments[2], &arguments[3..]) {
        eprintln!("{}", error);
        process::exit(1);
    }
}

fn classify(graph: &str, input: &str, labels: &str, pictures: &[String]) -> Result<(), Box<dyn Error>> {
    let labels = fs::read_to_string(labels)?;
    let labels: Vec<&str> = labels.lines().collect();
    let mut context = Graph::load_by_name(graph)?.context()?;
    for picture in pictures {
        let (dims, image) = image_of(&fs::read(picture)?).ok_or("the picture is no binary PPM of one byte a colour")?;
        context.set_input_at(0, input, &Tensor::new(&dims, &image)?)?;
        context.compute()?;
        let scores: Vec<f32> = context.output(0)?;
        let greatest = scores.iter().copied().fold(f32::MIN, f32::max);
        let sum: f32 = scores.iter().map(|score| (score - greatest).exp()).sum();
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|a, b| scores[*b].total_cmp(&scores[*a]));
        println!("{}", picture);
        for place in order.into_iter().take(5) {
            let percent = (100.0 * (scores[place] - greatest).exp() / sum + 0.5) as u32;
            println!("  {:3} %  {}", percent, labels.get(place).unwrap_or(&"?"));
        }
    }
    Ok(())
}

/// The dims and the numbers of a picture.
fn image_of(ppm: &[u8]) -> Option<([u32; 4], Vec<f32>)> {
    let mut at = 2;
    let mut numbers = [0usize; 3];
    for number in &mut numbers {
        while ppm.get(at)?.is_ascii_whitespace() {
            at += 1;
        }
        while ppm.get(at)?.is_ascii_digit() {
            *number = *number * 10 + usize::from(ppm[at] - b'0');
            at += 1;
        }
    }
    let [width, height, greatest] = numbers;
    let pixels = ppm.get(at + 1..)?;
    if &ppm[..2] != b"P6" || greatest != 255 || pixels.len() < 3 * width * height {
        return None;
    }
    let colour = |number: usize| (0..width * height).map(move |at| (f32::from(pixels[3 * at + number]) - 127.0) / 128.0);
    Some(([1, 3, height as u32, width as u32], (0..3).flat_map(colour).collect()))
}
