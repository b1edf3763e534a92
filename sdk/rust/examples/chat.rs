//! A talk with a language model, whose answers are printed as they are written, by sequences (an extension).
//!
//!     chat GRAPH OPTIONS [MESSAGE]...
//!
//! OPTIONS are the runtime's, in JSON. The messages are said one after the other; without any, each line of the standard
//! input is one. The model must be one that understands ChatML, as many small ones do. Contexts remember nothing: the
//! whole talk is the prompt each time.

use std::error::Error;
use std::io::{self, BufRead, Write};
use std::{env, process};
use wasi_nn_guest::{Context, Graph, Tensor};

fn main() {
    wasi_nn_guest::start();
    let arguments: Vec<String> = env::args().skip(1).collect();
    if arguments.len() < 2 {
        eprintln!("usage: chat GRAPH OPTIONS [MESSAGE]...");
        process::exit(2);
    }
    if let Err(error) = chat(&arguments[0], &arguments[1], &arguments[2..]) {
        eprintln!("{}", error);
        process::exit(1);
    }
}

fn chat(graph: &str, options: &str, messages: &[String]) -> Result<(), Box<dyn Error>> {
    let mut context = Graph::load_by_name(graph)?.context()?;
    context.set_input_at(1, "options", &Tensor::new(&[options.len() as u32], options.as_bytes())?)?;
    let mut talk = Vec::new();
    for message in messages {
        println!("> {}", message);
        say(&mut context, &mut talk, message)?;
    }
    if messages.is_empty() {
        let mut lines = io::stdin().lock().lines();
        loop {
            print!("> ");
            io::stdout().flush()?;
            match lines.next() {
                Some(line) => say(&mut context, &mut talk, &line?)?,
                None => break,
            }
        }
    }
    Ok(())
}

/// Say a message, and print the model's answer.
fn say(context: &mut Context, talk: &mut Vec<u8>, message: &str) -> Result<(), Box<dyn Error>> {
    write!(talk, "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n", message)?;
    context.set_input_at(0, "prompt", &Tensor::new(&[talk.len() as u32], talk)?)?;
    context.begin_sequence()?;
    let mut stdout = io::stdout();
    while context.next_of_sequence()? {
        let piece: Vec<u8> = context.output(0)?;
        stdout.write_all(&piece)?;
        stdout.flush()?;
        talk.extend(piece);
    }
    println!();
    talk.extend(b"<|im_end|>\n");
    Ok(())
}
