;; The adapter: gives a core module, whose functions are those of wasi_ephemeral_nn, the component's wasi:nn.
;;
;;   wasm-tools component new guest.wasm --adapt wasi_ephemeral_nn.wasm \
;;       --adapt wasi_snapshot_preview1.command.wasm -o component.wasm
;;
;; The tool allows an adapter neither data nor tables nor a memory of its own, so that what has to be kept is in the
;; guest's memory: one page of 64 KiB, from the guest's cabi_realloc, or from memory.grow in a guest that exports none.
;; The bytes of tensors aren't kept there but by the host, as tensors of wasi:nn:
;;
;;   set_input    makes two tensors of the same data, since `compute` takes one away and inputs stay set
;;   compute      passes one of them for each input, and keeps the tensors that it gets
;;   get_output   has the host write the bytes of one of these into the guest's buffer
;;
;; The page has the place for a call's results, and nodes of six numbers in lists:
;;
;;               0      4                  8         12        16       20
;;   a graph     next   the guest's handle resource  names
;;   a context   next   the guest's handle resource  names     inputs   outputs
;;   an input    next   index              kept      to pass   where the guest had its data
;;   an output   next                      tensor
;;
;; `names` is a number for what the guest called the graph, by which `$write_name` chooses the names of its inputs.
(module
  (import "env" "memory" (memory 0))
  (import "__main_module__" "cabi_realloc" (func $main_realloc (param i32 i32 i32 i32) (result i32)))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load"
    (func $load (param $builders i32) (param $count i32) (param $encoding i32) (param $target i32) (param $result i32)))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "load-by-name"
    (func $load_by_name (param $name i32) (param $length i32) (param $result i32)))
  (import "wasi:nn/graph@0.2.0-rc-2024-10-28" "[method]graph.init-execution-context"
    (func $init_execution_context (param $graph i32) (param $result i32)))
  (import "wasi:nn/inference@0.2.0-rc-2024-10-28" "[method]graph-execution-context.compute"
    (func $compute (param $context i32) (param $inputs i32) (param $count i32) (param $result i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[constructor]tensor"
    (func $tensor (param $dims i32) (param $rank i32) (param $type i32) (param $data i32) (param $size i32) (result i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.dimensions"
    (func $tensor_dimensions (param $tensor i32) (param $result i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.ty" (func $tensor_type (param i32) (result i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[method]tensor.data"
    (func $tensor_data (param $tensor i32) (param $result i32)))
  (import "wasi:nn/tensor@0.2.0-rc-2024-10-28" "[resource-drop]tensor" (func $drop_tensor (param i32)))
  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[method]error.code" (func $error_code (param i32) (result i32)))
  (import "wasi:nn/errors@0.2.0-rc-2024-10-28" "[resource-drop]error" (func $drop_error (param i32)))

  ;; The names of inputs. `wasi-nn component` writes other functions here if it knows names, or those of describe.wat:
  ;; $names_of gives the number of a named graph's names, $learn sees each new graph, $has_input tells whether there is an
  ;; input of an index, and $write_name writes its name into memory and returns its length, of at most $longest_name
  ;; bytes.
  ;; names: begin
  (global $longest_name i32 (i32.const 10))

  (func $names_of (param $graph i32) (param $length i32) (result i32)
    (i32.const 0))

  (func $learn (param $graph i32))

  (func $has_input (param $names i32) (param $index i32) (result i32)
    (i32.const 1))

  (func $write_name (param $names i32) (param $index i32) (param $to i32) (result i32)
    (call $write_number (local.get $index) (local.get $to)))
  ;; names: end

  (global $page (mut i32) (i32.const 0))        ;; the first 16 bytes are for results of fixed size; 0: there is none yet
  (global $room (mut i32) (i32.const 0))        ;; where lists of a call may lie, and its end
  (global $room_end (mut i32) (i32.const 0))
  (global $room_used (mut i32) (i32.const 0))   ;; the beginning of the free part
  (global $landing (mut i32) (i32.const 0))     ;; where the host's next list goes, if it isn't into the room
  (global $landing_size (mut i32) (i32.const 0))
  (global $node (mut i32) (i32.const 0))        ;; the next node that was never used, and the end of these
  (global $node_end (mut i32) (i32.const 0))
  (global $free_nodes (mut i32) (i32.const 0))
  (global $graphs (mut i32) (i32.const 0))
  (global $contexts (mut i32) (i32.const 0))
  (global $last_handle (mut i32) (i32.const 0)) ;; handles are never used again

  (func $write_number (param $number i32) (param $to i32) (result i32)
    (local $rest i32) (local $length i32) (local $at i32)
    (local.set $rest (local.get $number))
    (loop $count
      (local.set $length (i32.add (local.get $length) (i32.const 1)))
      (br_if $count (local.tee $rest (i32.div_u (local.get $rest) (i32.const 10)))))
    (local.set $at (i32.add (local.get $to) (local.get $length)))
    (loop $write
      (i32.store8 (local.tee $at (i32.sub (local.get $at) (i32.const 1)))
        (i32.add (i32.const 48) (i32.rem_u (local.get $number) (i32.const 10))))
      (br_if $write (local.tee $number (i32.div_u (local.get $number) (i32.const 10)))))
    (local.get $length))

  ;; Memory

  (func $pointer_out_of_bounds
    unreachable)

  ;; Trap unless so many items of a size are in memory, and outside of the adapter's page. No items may be anywhere.
  (func $check (param $at i32) (param $count i32) (param $size i64)
    (local $begin i64) (local $end i64) (local $page i64)
    (if (i32.eqz (local.get $count)) (then (return)))
    (local.set $begin (i64.extend_i32_u (local.get $at)))
    (local.set $end
      (i64.add (local.get $begin) (i64.mul (i64.extend_i32_u (local.get $count)) (local.get $size))))
    (if (i64.gt_u (local.get $end) (i64.shl (i64.extend_i32_u (memory.size)) (i64.const 16)))
      (then (call $pointer_out_of_bounds)))
    (local.set $page (i64.extend_i32_u (global.get $page)))
    (if (i32.and (i64.lt_u (local.get $begin) (i64.add (local.get $page) (i64.const 65536)))
          (i32.and (i64.gt_u (local.get $end) (local.get $page)) (i64.ne (local.get $page) (i64.const 0))))
      (then (call $pointer_out_of_bounds))))

  ;; An address for so many bytes: no address at all if there are none, so that the host doesn't look at it.
  (func $unless_empty (param $at i32) (param $size i32) (result i32)
    (select (local.get $at) (i32.const 0) (local.get $size)))

  ;; Begin a call: all of the room is free. Returns 0 if there is no memory.
  (func $begin (result i32)
    (if (i32.eqz (global.get $page))
      (then
        (global.set $page
          (call $main_realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 65536)))
        (if (i32.eqz (global.get $page)) (then (return (i32.const 0))))
        (global.set $room (i32.add (global.get $page) (i32.const 16)))
        (global.set $room_end (i32.add (global.get $page) (i32.const 16384)))
        (global.set $node (global.get $room_end))
        (global.set $node_end (i32.add (global.get $page) (i32.const 65536)))))
    (global.set $room_used (global.get $room))
    (i32.const 1))

  (func $new_node (result i32)
    (local $node i32)
    (if (local.tee $node (global.get $free_nodes))
      (then
        (global.set $free_nodes (i32.load (local.get $node)))
        (memory.fill (local.get $node) (i32.const 0) (i32.const 24))
        (return (local.get $node))))
    (if (i32.gt_u (i32.add (global.get $node) (i32.const 24)) (global.get $node_end))
      (then
        (local.set $node (call $main_realloc (i32.const 0) (i32.const 0) (i32.const 8) (i32.const 65536)))
        (if (i32.eqz (local.get $node)) (then (return (i32.const 0))))
        (global.set $node (local.get $node))
        (global.set $node_end (i32.add (local.get $node) (i32.const 65536)))))
    (memory.fill (local.tee $node (global.get $node)) (i32.const 0) (i32.const 24))
    (global.set $node (i32.add (local.get $node) (i32.const 24)))
    (local.get $node))

  (func $free_node (param $node i32)
    (i32.store (local.get $node) (global.get $free_nodes))
    (global.set $free_nodes (local.get $node)))

  ;; The node of a list with a number.
  (func $find (param $node i32) (param $number i32) (result i32)
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $node)))
        (br_if $end (i32.eq (i32.load offset=4 (local.get $node)) (local.get $number)))
        (local.set $node (i32.load (local.get $node)))
        (br $next)))
    (local.get $node))

  ;; Where the host puts a list that it returns: into the guest's buffer, if one waits for it, or into the room. A list
  ;; that is too long for the room gets a new room, of whole pages.
  (func (export "cabi_import_realloc") (param $old i32) (param $old_size i32) (param $align i32) (param $size i32)
    (result i32)
    (local $at i32) (local $pages i32)
    (if (local.get $old) (then unreachable)) ;; The size of a list is known before it is written.
    (if (i32.and (i32.ne (global.get $landing) (i32.const 0)) (i32.le_u (local.get $size) (global.get $landing_size)))
      (then (return (global.get $landing))))
    (local.set $at
      (i32.and (i32.sub (i32.add (global.get $room_used) (local.get $align)) (i32.const 1))
        (i32.sub (i32.const 0) (local.get $align))))
    (if (i64.gt_u (i64.add (i64.extend_i32_u (local.get $at)) (i64.extend_i32_u (local.get $size)))
          (i64.extend_i32_u (global.get $room_end)))
      (then
        (local.set $pages
          (i32.add (i32.shr_u (local.get $size) (i32.const 16)) (i32.const 1)))
        (local.set $at (memory.grow (local.get $pages)))
        (if (i32.eq (local.get $at) (i32.const -1)) (then unreachable))
        (local.set $at (i32.shl (local.get $at) (i32.const 16)))
        (global.set $room (local.get $at))
        (global.set $room_end (i32.add (local.get $at) (i32.shl (local.get $pages) (i32.const 16))))))
    (global.set $room_used (i32.add (local.get $at) (local.get $size)))
    (local.get $at))

  ;; Errors: an errno is 0 success, 1 invalid_argument, 2 invalid_encoding, 5 runtime_error, 7 too_large

  ;; The errno of an error of wasi:nn, which is dropped. Each digit is the errno of a code, of the first code at the end:
  ;; invalid-argument 1, invalid-encoding 2, timeout 5, runtime-error 5, unsupported-operation 6, too-large 7,
  ;; not-found 8, security 6, unknown 5.
  (func $errno (param $error i32) (result i32)
    (local $code i32)
    (local.set $code (call $error_code (local.get $error)))
    (call $drop_error (local.get $error))
    (i32.and (i32.const 15)
      (i32.wrap_i64 (i64.shr_u (i64.const 0x568765521)
        (i64.extend_i32_u (i32.shl (local.get $code) (i32.const 2)))))))

  ;; Answer a call whose result is a resource or an error: the resource becomes the first node of a list.
  (func $answer (param $node i32) (param $list i32) (param $out i32) (result i32)
    (if (i32.load8_u (global.get $page))
      (then
        (call $free_node (local.get $node))
        (return (call $errno (i32.load offset=4 (global.get $page))))))
    (global.set $last_handle (i32.add (global.get $last_handle) (i32.const 1)))
    (i32.store (local.get $node) (local.get $list))
    (i32.store offset=4 (local.get $node) (global.get $last_handle))
    (i32.store offset=8 (local.get $node) (i32.load offset=4 (global.get $page)))
    (i32.store (local.get $out) (global.get $last_handle))
    (i32.const 0))

  ;; Graphs

  (func (export "load") (param $builders i32) (param $count i32) (param $encoding i32) (param $target i32) (param $out i32)
    (result i32)
    (local $i i32) (local $from i32) (local $to i32) (local $size i32) (local $node i32) (local $errno i32)
    (call $check (local.get $out) (i32.const 1) (i64.const 4))
    (call $check (local.get $builders) (local.get $count) (i64.const 8))
    (if (i32.gt_u (local.get $count) (i32.const 1024)) (then (return (i32.const 1))))
    (if (i32.eqz (call $begin)) (then (return (i32.const 7))))
    ;; The guest's array of builders is the list that WIT has, but for its alignment, and for places of empty builders.
    (block $end
      (loop $next
        (br_if $end (i32.eq (local.get $i) (local.get $count)))
        (local.set $from (i32.add (local.get $builders) (i32.shl (local.get $i) (i32.const 3))))
        (local.set $to (i32.add (global.get $room) (i32.shl (local.get $i) (i32.const 3))))
        (local.set $size (i32.load offset=4 (local.get $from)))
        (call $check (i32.load (local.get $from)) (local.get $size) (i64.const 1))
        (i32.store (local.get $to) (call $unless_empty (i32.load (local.get $from)) (local.get $size)))
        (i32.store offset=4 (local.get $to) (local.get $size))
        (local.set $i (i32.add (local.get $i) (i32.const 1)))
        (br $next)))
    (if (i32.gt_u (local.get $target) (i32.const 2)) (then (return (i32.const 1))))
    (if (i32.gt_u (local.get $encoding) (i32.const 6)) (then (return (i32.const 2))))
    (if (i32.eq (local.get $encoding) (i32.const 5)) (then (local.set $encoding (i32.const 6)))) ;; autodetect
    (if (i32.eqz (local.tee $node (call $new_node))) (then (return (i32.const 7))))
    (call $load (global.get $room) (local.get $count) (local.get $encoding) (local.get $target) (global.get $page))
    (if (i32.eqz (local.tee $errno (call $answer (local.get $node) (global.get $graphs) (local.get $out))))
      (then
        (global.set $graphs (local.get $node))
        (call $learn (local.get $node))))
    (local.get $errno))

  (func (export "load_by_name") (param $name i32) (param $length i32) (param $out i32) (result i32)
    (local $node i32) (local $errno i32)
    (call $check (local.get $out) (i32.const 1) (i64.const 4))
    (call $check (local.get $name) (local.get $length) (i64.const 1))
    (if (i32.eqz (call $is_utf_8 (local.get $name) (local.get $length))) (then (return (i32.const 1))))
    (if (i32.eqz (call $begin)) (then (return (i32.const 7))))
    (if (i32.eqz (local.tee $node (call $new_node))) (then (return (i32.const 7))))
    (i32.store offset=12 (local.get $node) (call $names_of (local.get $name) (local.get $length)))
    (call $load_by_name (call $unless_empty (local.get $name) (local.get $length)) (local.get $length) (global.get $page))
    (if (i32.eqz (local.tee $errno (call $answer (local.get $node) (global.get $graphs) (local.get $out))))
      (then
        (global.set $graphs (local.get $node))
        (call $learn (local.get $node))))
    (local.get $errno))

  ;; Whether bytes are UTF-8: a string of WIT that isn't would trap.
  (func $is_utf_8 (param $at i32) (param $length i32) (result i32)
    (local $end i32) (local $byte i32) (local $more i32) (local $least i32) (local $most i32)
    (local.set $end (i32.add (local.get $at) (local.get $length)))
    (block $valid
      (loop $character
        (br_if $valid (i32.eq (local.get $at) (local.get $end)))
        (local.set $byte (i32.load8_u (local.get $at)))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $character (i32.lt_u (local.get $byte) (i32.const 0x80)))
        ;; c2..df begin two bytes, e0..ef three, f0..f4 four.
        (if (i32.gt_u (i32.sub (local.get $byte) (i32.const 0xc2)) (i32.const 0x32)) (then (return (i32.const 0))))
        (local.set $more (i32.add (i32.const 1)
          (i32.add (i32.ge_u (local.get $byte) (i32.const 0xe0)) (i32.ge_u (local.get $byte) (i32.const 0xf0)))))
        ;; The second byte has other bounds where the number would be too small, too large or a surrogate.
        (local.set $least (i32.const 0x80))
        (local.set $most (i32.const 0xbf))
        (if (i32.eq (local.get $byte) (i32.const 0xe0)) (then (local.set $least (i32.const 0xa0))))
        (if (i32.eq (local.get $byte) (i32.const 0xf0)) (then (local.set $least (i32.const 0x90))))
        (if (i32.eq (local.get $byte) (i32.const 0xed)) (then (local.set $most (i32.const 0x9f))))
        (if (i32.eq (local.get $byte) (i32.const 0xf4)) (then (local.set $most (i32.const 0x8f))))
        (loop $continued
          (if (i32.eq (local.get $at) (local.get $end)) (then (return (i32.const 0))))
          (local.set $byte (i32.load8_u (local.get $at)))
          (if (i32.or (i32.lt_u (local.get $byte) (local.get $least)) (i32.gt_u (local.get $byte) (local.get $most)))
            (then (return (i32.const 0))))
          (local.set $at (i32.add (local.get $at) (i32.const 1)))
          (local.set $least (i32.const 0x80))
          (local.set $most (i32.const 0xbf))
          (br_if $continued (local.tee $more (i32.sub (local.get $more) (i32.const 1)))))
        (br $character)))
    (i32.const 1))

  (func (export "init_execution_context") (param $graph i32) (param $out i32) (result i32)
    (local $node i32) (local $errno i32)
    (call $check (local.get $out) (i32.const 1) (i64.const 4))
    (if (i32.eqz (local.tee $graph (call $find (global.get $graphs) (local.get $graph))))
      (then (return (i32.const 1))))
    (drop (call $begin))
    (if (i32.eqz (local.tee $node (call $new_node))) (then (return (i32.const 7))))
    (i32.store offset=12 (local.get $node) (i32.load offset=12 (local.get $graph)))
    (call $init_execution_context (i32.load offset=8 (local.get $graph)) (global.get $page))
    (if (i32.eqz (local.tee $errno (call $answer (local.get $node) (global.get $contexts) (local.get $out))))
      (then (global.set $contexts (local.get $node))))
    (local.get $errno))

  ;; Tensors. A tensor's type is its number in WIT: 0 FP16, 1 FP32, 2 FP64, 3 BF16, 4 U8, 5 I32, 6 I64. The guest's
  ;; numbers are the same without BF16.

  (func $size_of_element (param $type i32) (result i64)
    (i64.and (i64.const 15)
      (i64.shr_u (i64.const 0x8412842) (i64.extend_i32_u (i32.shl (local.get $type) (i32.const 2))))))

  ;; How many elements dimensions have, or 4 Gi for more than memory has bytes.
  (func $elements (param $dims i32) (param $rank i32) (result i64)
    (local $count i64)
    (local.set $count (i64.const 1))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $rank)))
        (local.set $count (i64.mul (local.get $count) (i64.extend_i32_u (i32.load (local.get $dims)))))
        (if (i64.gt_u (local.get $count) (i64.const 0x100000000))
          (then (local.set $count (i64.const 0x100000000))))
        (local.set $dims (i32.add (local.get $dims) (i32.const 4)))
        (local.set $rank (i32.sub (local.get $rank) (i32.const 1)))
        (br $next)))
    (local.get $count))

  (func (export "set_input") (param $context i32) (param $index i32) (param $tensor i32) (result i32)
    (local $dims i32) (local $rank i32) (local $type i32) (local $data i32) (local $size i32)
    (local $elements i64) (local $node i32)
    (call $check (local.get $tensor) (i32.const 20) (i64.const 1))
    (local.set $dims (i32.load (local.get $tensor)))
    (local.set $rank (i32.load offset=4 (local.get $tensor)))
    (local.set $type (i32.load8_u offset=8 (local.get $tensor)))
    (local.set $data (i32.load offset=12 (local.get $tensor)))
    (local.set $size (i32.load offset=16 (local.get $tensor)))
    (call $check (local.get $dims) (local.get $rank) (i64.const 4))
    (call $check (local.get $data) (local.get $size) (i64.const 1))
    (if (i32.or (i32.gt_u (local.get $rank) (i32.const 64)) (i32.gt_u (local.get $type) (i32.const 5)))
      (then (return (i32.const 1))))
    (if (i32.eqz (local.tee $context (call $find (global.get $contexts) (local.get $context))))
      (then (return (i32.const 1))))
    (if (i32.eqz (call $has_input (i32.load offset=12 (local.get $context)) (local.get $index)))
      (then (return (i32.const 1))))
    (drop (call $begin))
    (if (local.get $rank)
      (then (memory.copy (global.get $room) (local.get $dims) (i32.shl (local.get $rank) (i32.const 2))))) ;; aligns them
    (local.set $elements (call $elements (global.get $room) (local.get $rank)))
    (if (i32.ge_u (local.get $type) (i32.const 3)) (then (local.set $type (i32.add (local.get $type) (i32.const 1)))))
    (if (i64.ne (i64.mul (local.get $elements) (call $size_of_element (local.get $type)))
          (i64.extend_i32_u (local.get $size)))
      (then
        ;; Before August 2023, the guest's 2 was U8 and 3 was I32: such a guest is known by the size of its data.
        (local.set $type
          (select (i32.const 4)
            (select (i32.const 5) (i32.const 0) (i32.eq (local.get $type) (i32.const 4)))
            (i32.eq (local.get $type) (i32.const 2))))
        (if (i32.or (i32.eqz (local.get $type))
              (i64.ne (i64.mul (local.get $elements) (call $size_of_element (local.get $type)))
                (i64.extend_i32_u (local.get $size))))
          (then (return (i32.const 1))))))
    (if (i32.eqz (local.tee $node (call $input (local.get $context) (local.get $index))))
      (then (return (i32.const 7))))
    (local.set $data (call $unless_empty (local.get $data) (local.get $size)))
    (if (i32.load offset=8 (local.get $node)) (then (call $drop_tensor (i32.load offset=8 (local.get $node)))))
    (if (i32.load offset=12 (local.get $node)) (then (call $drop_tensor (i32.load offset=12 (local.get $node)))))
    ;; First the one that is passed: a host may have its place ready, where the last one was.
    (i32.store offset=12 (local.get $node)
      (call $tensor (global.get $room) (local.get $rank) (local.get $type) (local.get $data) (local.get $size)))
    (i32.store offset=8 (local.get $node)
      (call $tensor (global.get $room) (local.get $rank) (local.get $type) (local.get $data) (local.get $size)))
    (i32.store offset=16 (local.get $node) (local.get $data))
    (i32.const 0))

  ;; The node of a context's input; a new one if there is none. Inputs are in the order of their indexes, which is that
  ;; of their parameters for runtimes without names.
  (func $input (param $context i32) (param $index i32) (result i32)
    (local $place i32) (local $node i32)
    (local.set $place (i32.add (local.get $context) (i32.const 16)))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.tee $node (i32.load (local.get $place)))))
        (br_if $end (i32.gt_u (i32.load offset=4 (local.get $node)) (local.get $index)))
        (if (i32.eq (i32.load offset=4 (local.get $node)) (local.get $index)) (then (return (local.get $node))))
        (local.set $place (local.get $node))
        (br $next)))
    (if (local.tee $node (call $new_node))
      (then
        (i32.store (local.get $node) (i32.load (local.get $place)))
        (i32.store offset=4 (local.get $node) (local.get $index))
        (i32.store (local.get $place) (local.get $node))))
    (local.get $node))

  ;; A second tensor like an input's. Its bytes pass through the room; those that don't fit pass through the place where
  ;; the guest had them, and a third tensor keeps what lies there now.
  (func $copy (param $input i32) (result i32)
    (local $tensor i32) (local $dims i32) (local $rank i32) (local $type i32) (local $at i32) (local $size i32)
    (local $there i32) (local $copy i32)
    (local.set $tensor (i32.load offset=8 (local.get $input)))
    (local.set $type (call $tensor_type (local.get $tensor)))
    (call $tensor_dimensions (local.get $tensor) (global.get $page))
    (local.set $dims (i32.load (global.get $page)))
    (local.set $rank (i32.load offset=4 (global.get $page)))
    (local.set $size
      (i32.wrap_i64 (i64.mul (call $elements (local.get $dims) (local.get $rank)) (call $size_of_element (local.get $type)))))
    (local.set $at (global.get $room_used))
    (if (i32.gt_u (local.get $size) (i32.sub (global.get $room_end) (local.get $at)))
      (then
        (local.set $at (i32.load offset=16 (local.get $input)))
        (local.set $there
          (call $tensor (i32.const 0) (i32.const 0) (i32.const 4) (local.get $at) (local.get $size)))))
    (drop (call $read (local.get $tensor) (local.get $at) (local.get $size)))
    (local.set $copy
      (call $tensor (local.get $dims) (local.get $rank) (local.get $type) (local.get $at) (local.get $size)))
    (if (local.get $there)
      (then
        (drop (call $read (local.get $there) (local.get $at) (local.get $size)))
        (call $drop_tensor (local.get $there))))
    (local.get $copy))

  ;; Have the host write the bytes of a tensor to a place; returns their number.
  (func $read (param $tensor i32) (param $at i32) (param $size i32) (result i32)
    (global.set $landing (local.get $at))
    (global.set $landing_size (local.get $size))
    (call $tensor_data (local.get $tensor) (global.get $page))
    (global.set $landing (i32.const 0))
    (i32.load offset=4 (global.get $page)))

  ;; Computes

  (func (export "compute") (param $context i32) (result i32)
    (local $input i32) (local $list i32) (local $count i32) (local $at i32) (local $length i32) (local $node i32)
    (if (i32.eqz (local.tee $context (call $find (global.get $contexts) (local.get $context))))
      (then (return (i32.const 1))))
    (call $drop_outputs (local.get $context))
    ;; First the copies of inputs that were passed before: each of them uses the room.
    (local.set $input (i32.load offset=16 (local.get $context)))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $input)))
        (drop (call $begin))
        (if (i32.eqz (i32.load offset=12 (local.get $input)))
          (then (i32.store offset=12 (local.get $input) (call $copy (local.get $input)))))
        (local.set $count (i32.add (local.get $count) (i32.const 1)))
        (local.set $input (i32.load (local.get $input)))
        (br $next)))
    (drop (call $begin))
    ;; The room for a list of {name, length, tensor}, and for the names behind it.
    (if (i64.gt_u
          (i64.mul (i64.extend_i32_u (local.get $count))
            (i64.extend_i32_u (i32.add (i32.const 12) (global.get $longest_name))))
          (i64.extend_i32_u (i32.sub (global.get $room_end) (global.get $room))))
      (then (return (i32.const 7))))
    (local.set $list (global.get $room))
    (local.set $at (i32.add (local.get $list) (i32.mul (local.get $count) (i32.const 12))))
    (local.set $input (i32.load offset=16 (local.get $context)))
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $input)))
        (local.set $length
          (call $write_name (i32.load offset=12 (local.get $context)) (i32.load offset=4 (local.get $input)) (local.get $at)))
        (i32.store (local.get $list) (local.get $at))
        (i32.store offset=4 (local.get $list) (local.get $length))
        (i32.store offset=8 (local.get $list) (i32.load offset=12 (local.get $input)))
        (i32.store offset=12 (local.get $input) (i32.const 0))
        (local.set $at (i32.add (local.get $at) (local.get $length)))
        (local.set $list (i32.add (local.get $list) (i32.const 12)))
        (local.set $input (i32.load (local.get $input)))
        (br $next)))
    ;; The list isn't needed when the results come, which take its place.
    (call $compute (i32.load offset=8 (local.get $context)) (global.get $room) (local.get $count) (global.get $page))
    (if (i32.load8_u (global.get $page)) (then (return (call $errno (i32.load offset=4 (global.get $page))))))
    (local.set $list (i32.load offset=4 (global.get $page)))
    (local.set $count (i32.load offset=8 (global.get $page)))
    ;; From the last to the first: each becomes the first of the context's outputs.
    (block $end
      (loop $next
        (br_if $end (i32.eqz (local.get $count)))
        (local.set $count (i32.sub (local.get $count) (i32.const 1)))
        (local.set $at (i32.add (local.get $list) (i32.mul (local.get $count) (i32.const 12))))
        (if (i32.eqz (local.tee $node (call $new_node)))
          (then
            (call $drop_outputs (local.get $context))
            (loop $rest
              (call $drop_tensor (i32.load offset=8 (local.get $at)))
              (local.set $at (i32.sub (local.get $at) (i32.const 12)))
              (br_if $rest (i32.ge_u (local.get $at) (local.get $list))))
            (return (i32.const 7))))
        (i32.store (local.get $node) (i32.load offset=20 (local.get $context)))
        (i32.store offset=8 (local.get $node) (i32.load offset=8 (local.get $at)))
        (i32.store offset=20 (local.get $context) (local.get $node))
        (br $next)))
    (i32.const 0))

  (func $drop_outputs (param $context i32)
    (local $node i32) (local $next i32)
    (local.set $next (i32.load offset=20 (local.get $context)))
    (i32.store offset=20 (local.get $context) (i32.const 0))
    (block $end
      (loop $output
        (br_if $end (i32.eqz (local.tee $node (local.get $next))))
        (local.set $next (i32.load (local.get $node)))
        (call $drop_tensor (i32.load offset=8 (local.get $node)))
        (call $free_node (local.get $node))
        (br $output))))

  (func (export "get_output") (param $context i32) (param $index i32) (param $buffer i32) (param $size i32) (param $out i32)
    (result i32)
    (local $node i32) (local $tensor i32) (local $needed i64)
    (call $check (local.get $buffer) (local.get $size) (i64.const 1))
    (call $check (local.get $out) (i32.const 1) (i64.const 4))
    (if (i32.eqz (local.tee $context (call $find (global.get $contexts) (local.get $context))))
      (then (return (i32.const 1))))
    (if (i32.eqz (local.tee $node (i32.load offset=20 (local.get $context)))) (then (return (i32.const 5))))
    (block $found
      (loop $next
        (br_if $found (i32.eqz (local.get $index)))
        (if (i32.eqz (local.tee $node (i32.load (local.get $node)))) (then (return (i32.const 1))))
        (local.set $index (i32.sub (local.get $index) (i32.const 1)))
        (br $next)))
    (drop (call $begin))
    (local.set $tensor (i32.load offset=8 (local.get $node)))
    (call $tensor_dimensions (local.get $tensor) (global.get $page))
    (local.set $needed
      (i64.mul (call $elements (i32.load (global.get $page)) (i32.load offset=4 (global.get $page)))
        (call $size_of_element (call $tensor_type (local.get $tensor)))))
    (if (i64.gt_u (local.get $needed) (i64.extend_i32_u (local.get $size)))
      (then
        (i32.store (local.get $out) (i32.wrap_i64 (local.get $needed)))
        (return (i32.const 7))))
    (i32.store (local.get $out) (call $read (local.get $tensor) (local.get $buffer) (local.get $size)))
    (select (i32.const 7) (i32.const 0) (i32.gt_u (i32.load (local.get $out)) (local.get $size))))
)
