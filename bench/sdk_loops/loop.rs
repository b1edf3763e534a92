//! Inferences of four numbers: loop GRAPH INPUT ROUNDS.

use wasi_nn_guest::{Error, Graph, Tensor};

fn main() -> Result<(), Error> {
    wasi_nn_guest::start();
    let arguments: Vec<String> = std::env::args().collect();
    let mut context = Graph::load_by_name(&arguments[1])?.context()?;
    let x = [1f32, -1.0, 2.0, -2.0];
    let mut y = [0f32; 4];
    for _ in 0..arguments[3].parse().unwrap_or(0) {
        context.set_input_at(0, &arguments[2], &Tensor::new(&[4], &x)?)?;
        context.compute()?;
        context.output_into(0, &mut y)?;
    }
    assert_eq!(y[0], 1.0);
    Ok(())
}
