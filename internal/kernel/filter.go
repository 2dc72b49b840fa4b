package kernel

import (
	"slices"

	"golang.org/x/net/bpf"
)

// Places that classic BPF offers beside the packet (linux/filter.h).
const (
	netOffset = 0xfff00000 // SKF_NET_OFF: from the network header on
	adOffset  = 0xfffff000 // SKF_AD_OFF
	adProto   = adOffset   // EtherType
	adPktType = adOffset + 4
	adHatype  = adOffset + 28
)

const (
	hwLoopback     = 772
	packetOutgoing = 4
	// widePorts is how many ports a filter holds; past it every port passes.
	widePorts = 1000
)

// nothing is the filter that takes no packet.
var nothing = []bpf.Instruction{bpf.RetConstant{Val: 0}}

// portFilter returns the filter that takes TCP and UDP packets from or to one
// of the ports, later fragments of IPv4 datagrams, IPv6 packets with extension
// headers, ARP and ICMP. On loopback, where each packet passes twice, it takes
// the one that arrives. With more than widePorts ports it takes all.
func portFilter(ports []uint16) []bpf.Instruction {
	wide := len(ports) > widePorts
	ports = slices.Clone(ports)
	slices.Sort(ports)
	if wide {
		ports = nil
	}
	a := assembler{}
	a.emit(bpf.LoadAbsolute{Off: adHatype, Size: 4})
	a.unless(hwLoopback, "ethertype")
	a.emit(bpf.LoadAbsolute{Off: adPktType, Size: 4})
	a.when(packetOutgoing, "no")
	a.label("ethertype")
	a.emit(bpf.LoadAbsolute{Off: adProto, Size: 4})
	a.when(0x0806, "yes") // ARP
	a.when(0x86dd, "six")
	a.unless(0x0800, "no")

	a.emit(bpf.LoadAbsolute{Off: netOffset + 9, Size: 1})
	a.when(1, "yes") // ICMP
	a.when(6, "fragment")
	a.unless(17, "no")
	a.label("fragment")
	a.emit(bpf.LoadAbsolute{Off: netOffset + 6, Size: 2}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x1fff})
	a.unless(0, "yes") // its ports are in the first fragment
	if wide {
		a.jump("yes")
	}
	// The header's length, in X.
	a.emit(bpf.LoadAbsolute{Off: netOffset, Size: 1}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 15}, bpf.ALUOpConstant{Op: bpf.ALUOpMul, Val: 4}, bpf.TAX{})
	a.jump("ports")

	a.label("six")
	a.emit(bpf.LoadAbsolute{Off: netOffset + 6, Size: 1})
	a.when(58, "yes") // ICMPv6
	for _, ext := range []uint32{0, 43, 44, 60} {
		a.when(ext, "yes")
	}
	a.when(6, "fixed")
	a.unless(17, "no")
	a.label("fixed")
	if wide {
		a.jump("yes")
	}
	a.emit(bpf.LoadConstant{Dst: bpf.RegX, Val: 40})

	a.label("ports")
	a.emit(bpf.LoadIndirect{Off: netOffset, Size: 2})
	a.ports(ports)
	a.emit(bpf.LoadIndirect{Off: netOffset + 2, Size: 2})
	a.ports(ports)
	a.label("no")
	a.emit(bpf.RetConstant{Val: 0})
	a.label("yes")
	a.emit(bpf.RetConstant{Val: 1 << 20})
	return a.link()
}

// assembler writes a program with labels. Conditional jumps reach only 255
// instructions, so each is one over an unconditional jump.
type assembler struct {
	prog   []bpf.Instruction
	labels map[string]int
	jumps  map[int]string
}

func (a *assembler) emit(in ...bpf.Instruction) { a.prog = append(a.prog, in...) }

func (a *assembler) label(name string) {
	if a.labels == nil {
		a.labels = map[string]int{}
	}
	a.labels[name] = len(a.prog)
}

func (a *assembler) jump(to string) {
	if a.jumps == nil {
		a.jumps = map[int]string{}
	}
	a.jumps[len(a.prog)] = to
	a.emit(bpf.Jump{})
}

// when jumps if the accumulator is v, unless if it is not.
func (a *assembler) when(v uint32, to string) {
	a.emit(bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipFalse: 1})
	a.jump(to)
}

func (a *assembler) unless(v uint32, to string) {
	a.emit(bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: 1})
	a.jump(to)
}

func (a *assembler) ports(list []uint16) {
	for _, p := range list {
		a.when(uint32(p), "yes")
	}
}

func (a *assembler) link() []bpf.Instruction {
	for at, to := range a.jumps {
		a.prog[at] = bpf.Jump{Skip: uint32(a.labels[to] - at - 1)}
	}
	return a.prog
}
