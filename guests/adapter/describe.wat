  ;; The names are those of the host's description of each graph, by the extension wasi-nn:ext. They are in nodes: one for
  ;; all names of a graph, whose first number is the first name; a name has the next one, its index, its length and its
  ;; first piece; a piece has the next one and 20 bytes.
  (import "wasi-nn:ext/describe@0.1.0" "describe" (func $describe (param $graph i32) (param $result i32)))
  (global $longest_name (mut i32) (i32.const 10))

  (func $names_of (param $graph i32) (param $length i32) (result i32)
    (i32.const 0))

  (func $learn (param $graph i32)
    (local $result i32) (local $input i32) (local $count i32) (local $index i32) (local $names i32) (local $name i32)
    (local $place i32) (local $at i32) (local $left i32) (local $size i32)
    (local.set $result (global.get $room))
    (global.set $room_used (i32.add (local.get $result) (i32.const 72)))
    (call $describe (i32.load offset=8 (local.get $graph)) (local.get $result))
    (if (i32.load8_u (local.get $result))
      (then
        (drop (call $errno (i32.load offset=4 (local.get $result))))
        (return)))
    (if (i32.eqz (local.tee $names (call $new_node))) (then (return)))
    (local.set $input (i32.load offset=40 (local.get $result)))
    (local.set $count (i32.load offset=44 (local.get $result)))
    (block $end
      (loop $next
        (br_if $end (i32.eq (local.get $index) (local.get $count)))
        (if (i32.eqz (local.tee $name (call $new_node))) (then (return)))
        (local.set $at (i32.load (local.get $input)))
        (local.set $left (i32.load offset=4 (local.get $input)))
        (i32.store (local.get $name) (i32.load (local.get $names)))
        (i32.store offset=4 (local.get $name) (local.get $index))
        (i32.store offset=8 (local.get $name) (local.get $left))
        (i32.store (local.get $names) (local.get $name))
        (if (i32.gt_u (local.get $left) (global.get $longest_name))
          (then (global.set $longest_name (local.get $left))))
        (local.set $place (i32.add (local.get $name) (i32.const 12)))
        (block $copied
          (loop $piece
            (br_if $copied (i32.eqz (local.get $left)))
            (i32.store (local.get $place) (call $new_node))
            (if (i32.eqz (local.tee $place (i32.load (local.get $place)))) (then (return)))
            (local.set $size
              (select (local.get $left) (i32.const 20) (i32.lt_u (local.get $left) (i32.const 20))))
            (memory.copy (i32.add (local.get $place) (i32.const 4)) (local.get $at) (local.get $size))
            (local.set $at (i32.add (local.get $at) (local.get $size)))
            (local.set $left (i32.sub (local.get $left) (local.get $size)))
            (br $piece)))
        (local.set $input (i32.add (local.get $input) (i32.const 36)))
        (local.set $index (i32.add (local.get $index) (i32.const 1)))
        (br $next)))
    (i32.store offset=12 (local.get $graph) (local.get $names)))

  (func $has_input (param $names i32) (param $index i32) (result i32)
    (if (i32.eqz (local.get $names)) (then (return (i32.const 1))))
    (i32.ne (i32.const 0) (call $find (i32.load (local.get $names)) (local.get $index))))

  (func $write_name (param $names i32) (param $index i32) (param $to i32) (result i32)
    (local $name i32) (local $piece i32) (local $left i32) (local $size i32)
    (if (i32.eqz (local.get $names))
      (then (return (call $write_number (local.get $index) (local.get $to)))))
    (local.set $name (call $find (i32.load (local.get $names)) (local.get $index)))
    (local.set $piece (i32.add (local.get $name) (i32.const 12)))
    (local.set $left (i32.load offset=8 (local.get $name)))
    (block $copied
      (loop $next
        (br_if $copied (i32.eqz (local.get $left)))
        (local.set $piece (i32.load (local.get $piece)))
        (local.set $size (select (local.get $left) (i32.const 20) (i32.lt_u (local.get $left) (i32.const 20))))
        (memory.copy (local.get $to) (i32.add (local.get $piece) (i32.const 4)) (local.get $size))
        (local.set $to (i32.add (local.get $to) (local.get $size)))
        (local.set $left (i32.sub (local.get $left) (local.get $size)))
        (br $next)))
    (i32.load offset=8 (local.get $name)))
