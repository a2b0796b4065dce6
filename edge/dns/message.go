package dns

import (
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

// Sizes of messages. Over UDP a client without EDNS takes 512 bytes.
const (
	plainLimit = 512
	ednsLimit  = 4096
	tcpLimit   = 1<<16 - 1
)

// errNotAQuery is about bytes that get no answer: answering answers makes loops.
var errNotAQuery = errors.New("not a DNS query")

// query is a client's message, as far as it has to be understood.
type query struct {
	raw      []byte
	header   dnsmessage.Header
	question dnsmessage.Question
	edns     bool
	limit    int // the largest answer that the client takes over UDP
}

// parseQuery reads a client's message. With an rcode other than success the query is good for one thing: a reply that
// says so.
func parseQuery(raw []byte) (query, dnsmessage.RCode, error) {
	var p dnsmessage.Parser
	q := query{raw: raw, limit: plainLimit}
	h, err := p.Start(raw)
	if err != nil || h.Response {
		return q, 0, errNotAQuery
	}
	q.header = h
	if h.OpCode != 0 {
		return q, dnsmessage.RCodeNotImplemented, nil
	}
	if q.question, err = p.Question(); err != nil {
		return q, dnsmessage.RCodeFormatError, nil
	}
	if _, err := p.Question(); err != dnsmessage.ErrSectionDone {
		return q, dnsmessage.RCodeFormatError, nil
	}
	if err := q.parseEDNS(&p); err != nil {
		return q, dnsmessage.RCodeFormatError, nil
	}
	return q, dnsmessage.RCodeSuccess, nil
}

// parseEDNS looks for what the client says about itself at the end of its message.
func (q *query) parseEDNS(p *dnsmessage.Parser) error {
	if err := errors.Join(p.SkipAllAnswers(), p.SkipAllAuthorities()); err != nil {
		return err
	}
	for {
		h, err := p.AdditionalHeader()
		if err == dnsmessage.ErrSectionDone {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type == dnsmessage.TypeOPT {
			q.edns = true
			q.limit = min(max(int(h.Class), plainLimit), ednsLimit)
		}
		if err := p.SkipAdditional(); err != nil {
			return err
		}
	}
}

// reply makes the message for an answer from the table; turn says which address comes first, so that clients that take
// the first spread. What is beyond limit is left out and the message marked so: the client asks again over TCP, or makes
// do with what it has got, as musl does before version 1.2.4.
func (q query) reply(a answer, turn uint32, limit int) []byte {
	whole, err := q.pack(a, turn, false)
	if err == nil && len(whole) > limit {
		whole, err = q.pack(a.fitting(turn, limit-len(q.truncated())), 0, true)
	}
	if err != nil {
		return q.say(dnsmessage.RCodeServerFailure)
	}
	return whole
}

// fitting is as much of an answer as has room in so many bytes, from its turn on. Names are left out altogether.
func (a answer) fitting(turn uint32, room int) answer {
	const header = 12 // of a record, whose name is compressed to two bytes
	var some []netip.Addr
	for i := range a.addrs {
		addr := a.addrs[(uint64(turn)+uint64(i))%uint64(len(a.addrs))]
		if room -= header + addr.BitLen()/8; room < 0 {
			break
		}
		some = append(some, addr)
	}
	return answer{rcode: a.rcode, addrs: some}
}

// say is a reply without records.
func (q query) say(rcode dnsmessage.RCode) []byte {
	msg, _ := q.pack(answer{rcode: rcode}, 0, false) // nil if even that fails: then there is no reply
	return msg
}

// truncated is the reply that sends a client to TCP.
func (q query) truncated() []byte {
	msg, _ := q.pack(answer{}, 0, true)
	return msg
}

func (q query) pack(a answer, turn uint32, truncated bool) ([]byte, error) {
	b := dnsmessage.NewBuilder(make([]byte, 0, plainLimit), dnsmessage.Header{
		ID: q.header.ID, Response: true, OpCode: q.header.OpCode, RCode: a.rcode, Truncated: truncated,
		Authoritative:    a.rcode == dnsmessage.RCodeSuccess || a.rcode == dnsmessage.RCodeNameError,
		RecursionDesired: q.header.RecursionDesired, RecursionAvailable: true,
	})
	b.EnableCompression()
	errs := []error{b.StartQuestions()}
	if q.question.Name.Length > 0 {
		errs = append(errs, b.Question(q.question))
	}
	errs = append(errs, b.StartAnswers())
	for i := range a.addrs {
		next := (uint64(turn) + uint64(i)) % uint64(len(a.addrs))
		errs = append(errs, addAddr(&b, q.question.Name, a.addrs[next]))
	}
	for _, name := range a.names {
		errs = append(errs, addName(&b, q.question.Name, name))
	}
	errs = append(errs, q.addEDNS(&b))
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return b.Finish()
}

// resourceHeader has TTL 0: a rollout changes the addresses at any time, and asking again is cheap.
func resourceHeader(name dnsmessage.Name) dnsmessage.ResourceHeader {
	return dnsmessage.ResourceHeader{Name: name, Class: dnsmessage.ClassINET}
}

func addAddr(b *dnsmessage.Builder, name dnsmessage.Name, a netip.Addr) error {
	if a.Is4() {
		return b.AResource(resourceHeader(name), dnsmessage.AResource{A: a.As4()})
	}
	return b.AAAAResource(resourceHeader(name), dnsmessage.AAAAResource{AAAA: a.As16()})
}

func addName(b *dnsmessage.Builder, of dnsmessage.Name, name string) error {
	n, err := dnsmessage.NewName(name + ".")
	if err != nil {
		return err
	}
	return b.PTRResource(resourceHeader(of), dnsmessage.PTRResource{PTR: n})
}

// addEDNS answers in kind to a client that speaks EDNS.
func (q query) addEDNS(b *dnsmessage.Builder) error {
	if !q.edns {
		return nil
	}
	var h dnsmessage.ResourceHeader
	return errors.Join(b.StartAdditionals(), h.SetEDNS0(ednsLimit, dnsmessage.RCodeSuccess, false), b.OPTResource(h, dnsmessage.OPTResource{}))
}

// answers tells whether a message is the answer to the query, sent with this ID, and what it says. Some servers leave
// the question out when they report an error.
func (q query) answers(raw []byte, id uint16) (dnsmessage.RCode, bool) {
	var p dnsmessage.Parser
	h, err := p.Start(raw)
	if err != nil || !h.Response || h.ID != id {
		return 0, false
	}
	got, err := p.Question()
	if err == dnsmessage.ErrSectionDone {
		return h.RCode, h.RCode != dnsmessage.RCodeSuccess
	}
	same := err == nil && got.Type == q.question.Type && got.Class == q.question.Class &&
		strings.EqualFold(got.Name.String(), q.question.Name.String())
	return h.RCode, same
}
