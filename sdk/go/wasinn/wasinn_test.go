package wasinn_test

import (
	"errors"
	"math"
	"os"
	"runtime"
	"slices"
	"testing"
	"time"

	"wasinn"
)

// TestMain runs the tests, and has the garbage collector give back what they lost.
func TestMain(m *testing.M) {
	code := m.Run()
	for range 3 { // a context, then its graph
		runtime.GC()
		time.Sleep(10 * time.Millisecond) // the goroutine of the cleanups runs
	}
	os.Exit(code)
}

func relu(context *wasinn.Context, x ...float32) ([]float32, error) {
	tensor, err := wasinn.NewTensor(x, len(x))
	if err != nil {
		return nil, err
	}
	if err := errors.Join(context.SetInput(0, tensor), context.Compute()); err != nil {
		return nil, err
	}
	return wasinn.Output[float32](context, 0)
}

func TestTensorsOfEveryType(t *testing.T) {
	check := func(tensor wasinn.Tensor, err error, want wasinn.Type, size int) {
		t.Helper()
		if err != nil || tensor.Type() != want || len(tensor.Bytes()) != size {
			t.Errorf("%v, %v, %d bytes, want %v", err, tensor.Type(), len(tensor.Bytes()), want)
		}
	}
	tensor, err := wasinn.NewTensor([]wasinn.F16{1, 2}, 2)
	check(tensor, err, wasinn.TypeF16, 4)
	tensor, err = wasinn.NewTensor([]wasinn.BF16{1, 2}, 1, 2)
	check(tensor, err, wasinn.TypeBF16, 4)
	tensor, err = wasinn.NewTensor([]float32{1, 2, 3}, 3)
	check(tensor, err, wasinn.TypeF32, 12)
	tensor, err = wasinn.NewTensor([]float64{1})
	check(tensor, err, wasinn.TypeF64, 8)
	tensor, err = wasinn.NewTensor([]uint8{}, 3, 0)
	check(tensor, err, wasinn.TypeU8, 0)
	tensor, err = wasinn.NewTensor([]int32{1}, 1)
	check(tensor, err, wasinn.TypeI32, 4)
	tensor, err = wasinn.NewTensor([]int64{-2, 1 << 40}, 2)
	check(tensor, err, wasinn.TypeI64, 16)
	if numbers, err := wasinn.Elements[int64](tensor); err != nil || !slices.Equal(numbers, []int64{-2, 1 << 40}) {
		t.Errorf("%v, %v", numbers, err)
	}
	if _, err := wasinn.Elements[float64](tensor); !errors.Is(err, wasinn.ErrInvalidArgument) {
		t.Error(err)
	}
}

func TestDimsThatDontFitAreTold(t *testing.T) {
	for _, dims := range [][]int{{}, {3}, {-2}, {-1, -2}, {1 << 32, 2}, {1 << 31, 1 << 31, 1 << 31}, {math.MinInt}, {2, 2}} {
		if _, err := wasinn.NewTensor([]float32{1, 2}, dims...); !errors.Is(err, wasinn.ErrInvalidArgument) {
			t.Errorf("%v: %v", dims, err)
		}
	}
	if _, err := wasinn.TensorOfBytes(wasinn.TypeF32, make([]byte, 7), 2); !errors.Is(err, wasinn.ErrInvalidArgument) {
		t.Error(err)
	}
	if _, err := wasinn.TensorOfBytes(0, []byte{1}, 1); !errors.Is(err, wasinn.ErrInvalidArgument) {
		t.Error(err)
	}
}

func TestBfloat16RoundsToTheNearest(t *testing.T) {
	for number, want := range map[float32]float32{1: 1, -2: -2, 1.00390625: 1, 1.01171875: 1.015625, 3.4e38: float32(math.Inf(1))} {
		if got := wasinn.BF16Of(number).Float32(); got != want {
			t.Errorf("%v: %v, not %v", number, got, want)
		}
	}
	if got := wasinn.BF16Of(float32(math.NaN())).Float32(); got == got {
		t.Errorf("%v", got)
	}
}

func TestIndexesThatDontExistAreTold(t *testing.T) {
	context := opened("relu")
	tensor, _ := wasinn.NewTensor([]float32{1, 2, 3, 4}, 4)
	for _, index := range []int{-1, 1, 1 << 32, math.MaxInt} {
		if err := context.SetInput(index, tensor); !errors.Is(err, wasinn.ErrInvalidArgument) {
			t.Errorf("%d: %v", index, err)
		}
	}
	if _, err := relu(context, 1, 2, 3, 4); err != nil {
		t.Fatal(err)
	}
	for _, index := range []int{-1, 1, 1 << 32, math.MaxInt} {
		if _, err := wasinn.Output[float32](context, index); !errors.Is(err, wasinn.ErrInvalidArgument) {
			t.Errorf("%d: %v", index, err)
		}
	}
	if _, err := wasinn.Load(nil, 0, 0); !errors.Is(err, wasinn.ErrInvalidEncoding) && !errors.Is(err, wasinn.ErrInvalidArgument) {
		t.Error(err)
	}
}

// The garbage collector runs, and stacks move, between a tensor and its use: the host must see its numbers.
func TestTensorsOutliveTheGarbageCollector(t *testing.T) {
	context := opened("relu")
	for round := range 200 {
		numbers := [4]float32{float32(round), -1, 2, float32(-round)} // would be on the stack
		tensor, err := wasinn.NewTensor(numbers[:], 4)
		if err != nil {
			t.Fatal(err)
		}
		deep(round%50, func() { runtime.GC() })
		if err := errors.Join(context.SetInput(0, tensor), context.Compute()); err != nil {
			t.Fatal(err)
		}
		y, err := wasinn.Output[float32](context, 0)
		if err != nil || !slices.Equal(y, []float32{float32(round), 0, 2, 0}) {
			t.Fatalf("%d: %v, %v", round, y, err)
		}
	}
}

func deep(depth int, action func()) int {
	var room [512]byte
	if depth == 0 {
		action()
		return int(room[0])
	}
	return deep(depth-1, action) + int(room[depth])
}

func TestAnOutputOfAnotherSizeIsTold(t *testing.T) {
	context := opened("relu")
	if _, err := relu(context, 1, 2, 3, 4); err != nil {
		t.Fatal(err)
	}
	y, err := wasinn.Output[float64](context, 0) // 16 bytes are two of them
	if err != nil || len(y) != 2 {
		t.Errorf("%v, %v", y, err)
	}
	if count, err := wasinn.OutputInto(context, 0, make([]uint8, 100)); err != nil || count != 16 {
		t.Errorf("%d, %v", count, err)
	}
	var small *wasinn.Error
	_, err = wasinn.OutputInto(context, 0, []float32{})
	if !errors.As(err, &small) || small.Code != wasinn.ErrTooLarge || small.Needed != 16 {
		t.Error(err)
	}
}

func TestWhatIsClosedIsntUsed(t *testing.T) {
	graph, err := wasinn.LoadByName("relu")
	if err != nil {
		t.Fatal(err)
	}
	context, err := graph.NewContext()
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(graph.Close(), graph.Close()); err != nil {
		t.Fatal(err)
	}
	if y, err := relu(context, -1, 2, -3, 4); err != nil || !slices.Equal(y, []float32{0, 2, 0, 4}) {
		t.Errorf("a context keeps its graph: %v, %v", y, err)
	}
	x, _ := wasinn.NewTensor([]float32{1, 2, 3, 4}, 4)
	if _, err := context.ComputeNamed(map[string]wasinn.Tensor{"x": x}); err != nil {
		t.Error(err)
	}
	if err := errors.Join(context.Close(), context.Close()); err != nil {
		t.Fatal(err)
	}
	_, newContext := graph.NewContext()
	_, describe := graph.Describe()
	_, useSignature := graph.UseSignature("")
	_, state := graph.State()
	_, output := wasinn.Output[float32](context, 0)
	_, outputTensor := context.OutputTensor(0)
	_, next := context.NextOfSequence()
	_, strings := context.Strings(0)
	for at, err := range []error{
		newContext, describe, useSignature, state, graph.SetState(nil), output, outputTensor, next, strings,
		context.SetInput(0, x), context.Compute(), context.BeginSequence(), context.EndSequence(), context.SetStrings(0, nil),
	} {
		if !errors.Is(err, wasinn.ErrInvalidArgument) {
			t.Errorf("%d: %v", at, err)
		}
	}
}

func TestALoopThatIsLeftEndsItsSequence(t *testing.T) {
	context := opened("speller")
	prompt, _ := wasinn.NewTensor([]byte("abc"), 3)
	for range 2 {
		if err := context.SetInput(0, prompt); err != nil {
			t.Fatal(err)
		}
		for number, err := range context.Sequence() {
			if err != nil {
				t.Fatal(err)
			}
			if number == 1 {
				break
			}
		}
		if _, err := wasinn.Output[uint8](context, 0); !errors.Is(err, wasinn.ErrRuntimeError) {
			t.Error(err)
		}
	}
	empty := opened("speller")
	for _, err := range empty.Sequence() {
		if !errors.Is(err, wasinn.ErrInvalidArgument) {
			t.Errorf("a sequence without its prompt: %v", err)
		}
	}
}

func TestStringsOfAnyLength(t *testing.T) {
	context := opened("echo")
	for _, want := range [][]string{{}, {""}, {"", ""}, {"a", "", "\x00\xff", string(make([]byte, 5000))}} {
		if err := errors.Join(context.SetStrings(0, want, len(want)), context.Compute()); err != nil {
			t.Fatal(err)
		}
		if got, err := context.Strings(0); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q, %v", got, err)
		}
	}
	if err := context.SetStrings(0, []string{"a"}, -1); !errors.Is(err, wasinn.ErrInvalidArgument) {
		t.Error(err)
	}
}

func TestWordsAreParsed(t *testing.T) {
	for encoding := wasinn.OpenVINO; encoding <= wasinn.Autodetect; encoding++ {
		if parsed, err := wasinn.ParseEncoding(encoding.String()); err != nil || parsed != encoding {
			t.Errorf("%v: %v, %v", encoding, parsed, err)
		}
	}
	if _, err := wasinn.ParseEncoding("none"); !errors.Is(err, wasinn.ErrInvalidEncoding) {
		t.Error(err)
	}
	if text := wasinn.Type(99).String(); text != "Type(99)" {
		t.Error(text)
	}
}
