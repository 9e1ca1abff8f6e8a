package securitylog

import (
	"errors"
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// The library is taken from the system's directory alone; x/sys has none of
// these calls (https://learn.microsoft.com/windows/win32/api/winevt/).
var (
	library      = windows.NewLazySystemDLL("wevtapi.dll")
	evtSubscribe = library.NewProc("EvtSubscribe")
	evtNext      = library.NewProc("EvtNext")
	evtRender    = library.NewProc("EvtRender")
	evtClose     = library.NewProc("EvtClose")
)

// Of winevt.h and winerror.h.
const (
	evtSubscribeToFutureEvents = 1
	evtRenderEventXML          = 1
	errInvalidOperation        = windows.Errno(4317) // EvtNext: nothing was delivered since it was asked last
)

// query selects the events that tell of listeners: of binds those of UDP, for a
// TCP socket that is merely bound does not listen.
const query = "*[System[(EventID=5154)] or (System[(EventID=5158)] and EventData[Data[@Name='Protocol']='17'])]"

// Subscription hears of events from its making on. It is not safe for concurrent
// use.
type Subscription struct {
	handle windows.Handle
	signal windows.Handle
	buffer []uint16
}

// Subscribe asks for events. They come only where the audit policy has "Filtering
// Platform Connection", which need not be known here. The error says what is
// lacking: who may read the Security log is the system, administrators, and
// members of Event Log Readers.
func Subscribe() (*Subscription, error) {
	for _, p := range []*windows.LazyProc{evtSubscribe, evtNext, evtRender, evtClose} {
		if err := p.Find(); err != nil {
			return nil, fmt.Errorf("read the Security log: %w", err)
		}
	}
	signal, err := windows.CreateEvent(nil, 1, 1, nil) // by hand, and set: there may be something at once
	if err != nil {
		return nil, fmt.Errorf("read the Security log: %w", err)
	}
	channel, _ := windows.UTF16PtrFromString("Security") // neither has a NUL
	xpath, _ := windows.UTF16PtrFromString(query)
	h, _, err := evtSubscribe.Call(0, uintptr(signal), uintptr(unsafe.Pointer(channel)), uintptr(unsafe.Pointer(xpath)), 0, 0, 0, evtSubscribeToFutureEvents)
	if h == 0 {
		if errors.Is(err, windows.ERROR_SUCCESS) {
			err = errors.New("the system refuses, and does not say why")
		}
		return nil, errors.Join(fmt.Errorf("read the Security log: %w", err), windows.CloseHandle(signal))
	}
	return &Subscription{handle: windows.Handle(h), signal: signal, buffer: make([]uint16, 4<<10)}, nil
}

// Signal is an event object that is set while there may be something to read.
func (s *Subscription) Signal() windows.Handle { return s.signal }

// Close ends the subscription.
func (s *Subscription) Close() error {
	return errors.Join(closeEvent(s.handle), windows.CloseHandle(s.signal))
}

// Read appends what came to events. What cannot be decoded is an error beside
// the rest; any other error is of the system.
func (s *Subscription) Read(events []Event) ([]Event, error) {
	var malformed []error
	for {
		var handles [16]windows.Handle
		var n uint32
		ok, _, err := evtNext.Call(uintptr(s.handle), uintptr(len(handles)), uintptr(unsafe.Pointer(&handles[0])), 0, 0, uintptr(unsafe.Pointer(&n)))
		switch {
		case ok != 0:
		case errors.Is(err, windows.ERROR_NO_MORE_ITEMS), errors.Is(err, windows.ERROR_TIMEOUT), errors.Is(err, errInvalidOperation):
			return events, errors.Join(append(malformed, windows.ResetEvent(s.signal))...)
		default:
			return events, fmt.Errorf("read the Security log: %w", err)
		}
		for _, h := range handles[:n] {
			e, err := s.render(h)
			if err = errors.Join(err, closeEvent(h)); err != nil {
				malformed = append(malformed, err)
				continue
			}
			events = append(events, e)
		}
	}
}

// render decodes an event.
func (s *Subscription) render(h windows.Handle) (Event, error) {
	for {
		var used, properties uint32 // bytes
		ok, _, err := evtRender.Call(0, uintptr(h), evtRenderEventXML, uintptr(2*len(s.buffer)), uintptr(unsafe.Pointer(&s.buffer[0])),
			uintptr(unsafe.Pointer(&used)), uintptr(unsafe.Pointer(&properties)))
		switch {
		case ok != 0:
			return Parse([]byte(windows.UTF16ToString(s.buffer)))
		case errors.Is(err, windows.ERROR_INSUFFICIENT_BUFFER) && int(used) > 2*len(s.buffer) && used <= 2*maxEvent:
			s.buffer = make([]uint16, used/2+1)
		default:
			return Event{}, fmt.Errorf("render an event of the Security log: %w", err)
		}
	}
}

func closeEvent(h windows.Handle) error {
	if ok, _, err := evtClose.Call(uintptr(h)); ok == 0 {
		return fmt.Errorf("close a handle of the Security log: %w", err)
	}
	return nil
}
